package notebook

import (
	"context"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

const defaultSession = 12 * time.Hour

// Presign gives a URL that opens the notebook in a browser.
func (n *Notebooks) Presign(ctx context.Context, c op.Call, in *api.CreatePresignedNotebookInstanceUrlInput) (*api.CreatePresignedNotebookInstanceUrlOutput, error) {
	r, err := n.get(ctx, c, in.NotebookInstanceName)
	if err != nil {
		return nil, err
	}
	if r.Phase != phaseInService {
		return nil, apierr.Validation("Status (%s) not in ([%s]). Unable to create a presigned URL for Notebook Instance (%s)", r.Phase, phaseInService, r.Arn)
	}
	life := defaultSession
	if s := in.SessionExpirationDurationInSeconds; s != nil {
		life = time.Duration(*s) * time.Second
	}
	url, err := n.Door.URL(ctx, c, r, life)
	if err != nil {
		return nil, err
	}
	return &api.CreatePresignedNotebookInstanceUrlOutput{AuthorizedUrl: url}, nil
}
