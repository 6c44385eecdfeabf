package meter

import (
	"strings"
	"unicode"

	"clary/internal/aws/arn"
	"clary/internal/resource"
)

// What Cost Explorer calls what is charged for here.
const (
	ServiceName = "Amazon SageMaker"
	ServiceCode = "AmazonSageMaker"
)

// Attribute says what u is by one of Cost Explorer's dimensions; false: usage
// of its sort has no such, and is NoInstanceType and the like.
func Attribute(u *resource.Usage, dimension string) (string, bool) {
	if v, ok := attribute(u, dimension); ok {
		return v, true
	}
	if dimension == "AZ" {
		return "NoAZ", false
	}
	var out strings.Builder
	out.WriteString("No")
	for w := range strings.SplitSeq(dimension, "_") {
		if w != "" {
			out.WriteString(w[:1] + strings.ToLower(w[1:]))
		}
	}
	return out.String(), false
}

func attribute(u *resource.Usage, dimension string) (string, bool) {
	switch dimension {
	case "SERVICE":
		return ServiceName, true
	case "SERVICE_CODE":
		return ServiceCode, true
	case "LINKED_ACCOUNT":
		return u.Account, u.Account != ""
	case "REGION":
		return u.Region, u.Region != ""
	case "USAGE_TYPE":
		return usageType(u), true
	case "USAGE_TYPE_GROUP":
		return "SageMaker: " + words(string(u.Kind), ' ') + "s", true
	case "OPERATION":
		if u.Unit == GBSecond {
			return "CreateVolume-Gp2", true
		}
		return "RunInstance", true
	case "INSTANCE_TYPE":
		return u.InstanceType, u.InstanceType != ""
	case "INSTANCE_TYPE_FAMILY":
		family, _, _ := strings.Cut(strings.TrimPrefix(u.InstanceType, "ml."), ".")
		return family, family != ""
	case "RESOURCE_ID":
		return arn.SageMaker(u.Region, u.Account, strings.ToLower(words(string(u.Kind), '-')), u.Name), true
	case "RECORD_TYPE":
		return "Usage", true
	case "PURCHASE_TYPE":
		return "On Demand Instances", true
	case "BILLING_ENTITY":
		return "AWS", true
	case "LEGAL_ENTITY_NAME", "INVOICING_ENTITY":
		return "Amazon Web Services, Inc.", true
	}
	return "", false
}

// words parts the words of a kind's name: TrainingJob.
func words(kind string, by rune) string {
	var b strings.Builder
	for i, r := range kind {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteRune(by)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// usageType is as AWS's bills word it: USE1-Notebk:ml.t3.medium.
func usageType(u *resource.Usage) string {
	word, volume := strings.CutSuffix(u.Component, "-volume")
	switch word {
	case "notebook":
		word = "Notebk"
	case "training":
		word = "Train"
	case "processing":
		word = "Processing"
	case "transform":
		word = "Tsform"
	case "hosting":
		word = "Host"
	}
	what := u.InstanceType
	switch {
	case volume:
		what = "VolumeUsage.gp2"
	case what == "":
		what = u.Unit
	}
	return billingCode(u.Region) + "-" + word + ":" + what
}

// billingCode is a region's name on bills. AWS's follow no rule, so they are
// listed; a region that is not keeps its name.
func billingCode(region string) string {
	switch region {
	case "us-east-1":
		return "USE1"
	case "us-east-2":
		return "USE2"
	case "us-west-1":
		return "USW1"
	case "us-west-2":
		return "USW2"
	case "ca-central-1":
		return "CAN1"
	case "ca-west-1":
		return "CAN2"
	case "mx-central-1":
		return "MXC1"
	case "sa-east-1":
		return "SAE1"
	case "eu-west-1":
		return "EU"
	case "eu-west-2":
		return "EUW2"
	case "eu-west-3":
		return "EUW3"
	case "eu-central-1":
		return "EUC1"
	case "eu-central-2":
		return "EUC2"
	case "eu-north-1":
		return "EUN1"
	case "eu-south-1":
		return "EUS1"
	case "eu-south-2":
		return "EUS2"
	case "il-central-1":
		return "ILC1"
	case "me-south-1":
		return "MES1"
	case "me-central-1":
		return "MEC1"
	case "af-south-1":
		return "AFS1"
	case "ap-east-1":
		return "APE1"
	case "ap-east-2":
		return "APE2"
	case "ap-northeast-1":
		return "APN1"
	case "ap-northeast-2":
		return "APN2"
	case "ap-northeast-3":
		return "APN3"
	case "ap-southeast-1":
		return "APS1"
	case "ap-southeast-2":
		return "APS2"
	case "ap-south-1":
		return "APS3"
	case "ap-southeast-3":
		return "APS4"
	case "ap-south-2":
		return "APS5"
	case "ap-southeast-4":
		return "APS6"
	case "ap-southeast-5":
		return "APS7"
	case "ap-southeast-6":
		return "APS8"
	case "ap-southeast-7":
		return "APS9"
	}
	return region
}

// Quantity is charged units as Cost Explorer counts usage, and in what.
func Quantity(unit string, units int64) (amount float64, in string) {
	per, in := Scale(unit)
	return float64(units) / float64(per), in
}

// Scale is how many charged units one of Cost Explorer's has, and its name.
func Scale(unit string) (per int64, in string) {
	switch unit {
	case InstanceSecond:
		return 3600, "Hrs"
	case GBSecond:
		return 30 * 24 * 3600, "GB-Mo"
	}
	return 1, "Requests"
}
