// Package arn reads and writes Amazon Resource Names.
package arn

import "strings"

// ARN is arn:Partition:Service:Region:Account:Resource.
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

func (a ARN) String() string {
	return strings.Join([]string{"arn", a.Partition, a.Service, a.Region, a.Account, a.Resource}, ":")
}

// Parse splits s; ok is false when it is not an ARN.
func Parse(s string) (a ARN, ok bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return ARN{}, false
	}
	return ARN{p[1], p[2], p[3], p[4], p[5]}, true
}

// SageMaker gives the ARN of a SageMaker resource; SageMaker lower-cases names
// in it.
func SageMaker(region, account, typ, name string) string {
	return ARN{"aws", "sagemaker", region, account, typ + "/" + strings.ToLower(name)}.String()
}
