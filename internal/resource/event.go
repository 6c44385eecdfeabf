package resource

import "time"

// Event is a call that changed something, or tried to, as CloudTrail records
// it. Text is the whole of it in CloudTrail's JSON; the other members are what
// it can be found by.
type Event struct {
	Account, Region string
	Seq             int64  // place in the log of its account and region, from 1
	Hash            string // SHA-256 of Text, in hex
	ID              string
	At              time.Time
	Name            string // CreateTrainingJob
	Source          string // sagemaker.amazonaws.com
	User            string
	AccessKeyID     string
	ResourceType    string // AWS::SageMaker::TrainingJob, or ""
	ResourceName    string
	Text            []byte
}

// EventHead is the newest event of a region's chain.
type EventHead struct {
	Region string
	Seq    int64
	Hash   string
}

// EventQuery selects events of one account and region. Zero members do not
// filter; the time bounds are inclusive. The order is newest first: by Seq or,
// where anything filters, by At and then Seq.
type EventQuery struct {
	Account, Region            string
	ID, Name, Source           string
	User, AccessKeyID          string
	ResourceType, ResourceName string
	From, To                   time.Time
	Token                      string // from the previous page
	Limit                      int    // 1..1000; 0 is 50
}
