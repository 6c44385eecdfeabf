package notebook

import (
	"context"
	"errors"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// errNotFound is what every operation answers for an unknown name; the waiter
// for a deletion matches on its code.
func errNotFound() error { return apierr.Validation("RecordNotFound") }

func (n *Notebooks) get(ctx context.Context, c op.Call, name string) (*resource.Record, error) {
	r, err := n.Store.Get(ctx, key(c.Account, c.Region, name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNotFound()
	}
	return r, err
}

// Describe answers with the request, its defaults, and how the notebook stands.
func (n *Notebooks) Describe(ctx context.Context, c op.Call, in *api.DescribeNotebookInstanceInput) (*api.DescribeNotebookInstanceOutput, error) {
	r, err := n.get(ctx, c, in.NotebookInstanceName)
	if err != nil {
		return nil, err
	}
	st, err := readStatus(r)
	if err != nil {
		return nil, err
	}
	spec, err := readSpec(r)
	if err != nil {
		return nil, err
	}
	size := gigabytes(spec)
	out := &api.DescribeNotebookInstanceOutput{
		NotebookInstanceArn: r.Arn, NotebookInstanceName: r.Name, NotebookInstanceStatus: r.Phase, FailureReason: st.Failure,
		Url: n.Site(r.UID), InstanceType: spec.InstanceType, IpAddressType: orElse(spec.IpAddressType, "ipv4"),
		SubnetId: spec.SubnetId, SecurityGroups: spec.SecurityGroupIds, RoleArn: spec.RoleArn, KmsKeyId: spec.KmsKeyId,
		LastModifiedTime: stamp(r.Modified), CreationTime: stamp(r.Created),
		DirectInternetAccess: orElse(spec.DirectInternetAccess, enabled), VolumeSizeInGB: &size, AcceleratorTypes: spec.AcceleratorTypes,
		RootAccess: orElse(spec.RootAccess, enabled), PlatformIdentifier: orElse(spec.PlatformIdentifier, defaultPlatform),
		InstanceMetadataServiceConfiguration: spec.InstanceMetadataServiceConfiguration,
		NotebookInstanceLifecycleConfigName:  spec.LifecycleConfigName,
		DefaultCodeRepository:                spec.DefaultCodeRepository, AdditionalCodeRepositories: spec.AdditionalCodeRepositories,
	}
	if r := st.Rescue; r != nil && !r.Done && r.Tries > 0 {
		out.FailureReason = r.reason()
	}
	if out.InstanceMetadataServiceConfiguration == nil {
		out.InstanceMetadataServiceConfiguration = &api.InstanceMetadataServiceConfiguration{MinimumInstanceMetadataServiceVersion: "1"}
	}
	return out, nil
}
