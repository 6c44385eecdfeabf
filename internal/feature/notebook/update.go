package notebook

import (
	"context"
	"fmt"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// Update changes a notebook that does not run; what it says holds from the
// next start on. A volume only grows.
func (n *Notebooks) Update(ctx context.Context, c op.Call, in *api.UpdateNotebookInstanceInput) (*api.UpdateNotebookInstanceOutput, error) {
	if in.RoleArn != "" {
		if err := n.Auth.PassRole(ctx, c.Principal, in.RoleArn, "sagemaker.amazonaws.com"); err != nil {
			return nil, err
		}
	}
	if _, err := n.get(ctx, c, in.NotebookInstanceName); err != nil {
		return nil, err
	}
	if in.InstanceType != "" {
		if err := n.checkType(in.InstanceType); err != nil {
			return nil, err
		}
	}
	err := n.change(ctx, c, in.NotebookInstanceName, func(tx store.Tx, r *resource.Record, st *status, spec *request) error {
		if err := must(r, phaseUpdating, phaseStopped, phaseFailed); err != nil {
			return err
		}
		if v := in.VolumeSizeInGB; v != nil && *v < st.Volume {
			return apierr.Validation("The volume of a notebook instance cannot be made smaller: VolumeSizeInGB of %s is %d, and %d was requested.", r.Arn, st.Volume, *v)
		}
		if v := in.VolumeSizeInGB; v != nil && *v > st.Volume {
			if err := n.admit(ctx, tx, r, volumeAsk(*v-st.Volume)); err != nil {
				return err
			}
		}
		merge(spec, in)
		if err := checkSources(spec); err != nil {
			return err
		}
		// What it had before may be gone by now; only the next start minds.
		if err := checkNamed(tx, r.Key, in.LifecycleConfigName, append([]string{in.DefaultCodeRepository}, in.AdditionalCodeRepositories...)...); err != nil {
			return err
		}
		b, err := marshal(spec)
		if err != nil {
			return fmt.Errorf("spec: %w", err)
		}
		r.Phase, r.Spec = phaseUpdating, b
		st.Asked, st.Failure, st.Crashes = time.Now(), "", nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateNotebookInstanceOutput{}, nil
}

// merge takes an update into the request: first what is disassociated, then
// what comes in its place.
func merge(spec *request, in *api.UpdateNotebookInstanceInput) {
	gone := func(b *bool) bool { return b != nil && *b }
	if gone(in.DisassociateLifecycleConfig) {
		spec.LifecycleConfigName = ""
	}
	if gone(in.DisassociateDefaultCodeRepository) {
		spec.DefaultCodeRepository = ""
	}
	if gone(in.DisassociateAdditionalCodeRepositories) {
		spec.AdditionalCodeRepositories = nil
	}
	if gone(in.DisassociateAcceleratorTypes) {
		spec.AcceleratorTypes = nil
	}
	for to, from := range map[*string]string{
		&spec.InstanceType: in.InstanceType, &spec.IpAddressType: in.IpAddressType, &spec.PlatformIdentifier: in.PlatformIdentifier,
		&spec.RoleArn: in.RoleArn, &spec.RootAccess: in.RootAccess, &spec.LifecycleConfigName: in.LifecycleConfigName, &spec.DefaultCodeRepository: in.DefaultCodeRepository,
	} {
		if from != "" {
			*to = from
		}
	}
	if in.VolumeSizeInGB != nil {
		spec.VolumeSizeInGB = in.VolumeSizeInGB
	}
	if in.InstanceMetadataServiceConfiguration != nil {
		spec.InstanceMetadataServiceConfiguration = in.InstanceMetadataServiceConfiguration
	}
	if len(in.AdditionalCodeRepositories) > 0 {
		spec.AdditionalCodeRepositories = in.AdditionalCodeRepositories
	}
	if len(in.AcceleratorTypes) > 0 {
		spec.AcceleratorTypes = in.AcceleratorTypes
	}
}
