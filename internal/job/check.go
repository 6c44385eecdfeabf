package job

import (
	"path"
	"strings"

	"clary/internal/aws/apierr"
)

// Refuse refuses what the model allows and jobs of this kind cannot do.
func (f *Family) Refuse(what string) error {
	return apierr.Validation("Clary does not support %s for %ss. Nothing was created.", what, f.noun())
}

// IsS3 says whether a URI names at least a bucket.
func IsS3(uri string) bool {
	rest, ok := strings.CutPrefix(uri, "s3://")
	return ok && rest != "" && rest[0] != '/'
}

// Below gives a LocalPath as it is meant, and whether it is one that begins with
// base and stays there.
func Below(local, base string) (string, bool) {
	clean := path.Clean(local)
	return clean, strings.HasPrefix(local, base+"/") && strings.HasPrefix(clean+"/", base+"/")
}

// IsTrue reads a member that is false where it is absent.
func IsTrue(b *bool) bool { return b != nil && *b }
