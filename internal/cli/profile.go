package cli

import (
	"fmt"
	"path/filepath"
	"strings"
)

const profileHelp = "let this profile name mean Clary: config and credentials files of our own, below the data folder, hold it and nothing else; " +
	"AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE and AWS_PROFILE point to it, and ~/.aws is neither read nor written"

// profile gives the changes by which a named profile stands for this server.
// It lives in files of our own, so that the user's profiles stay as they are;
// a script that names another profile fails instead of reaching AWS.
func (t target) profile(name string) ([]change, error) {
	if !profileName(name) {
		return nil, fmt.Errorf("--profile %q: want letters, digits and any of _ . @ + -, at most 64", name)
	}
	section := "profile " + name
	if name == "default" {
		section = name
	}
	config := filepath.Join(t.data, "run", "env", "profile-"+name+".config")
	credentials := filepath.Join(t.data, "run", "env", "profile-"+name+".credentials")
	text := fmt.Sprintf("[%s]\nregion = %s\nendpoint_url = http://%s\n", section, t.Region, t.Addr)
	keys := fmt.Sprintf("[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", name, t.key.AccessKeyID, t.key.SecretAccessKey)
	if err := writeAtomic(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := writeAtomic(credentials, []byte(keys), 0o600); err != nil {
		return nil, err
	}
	return []change{
		{"AWS_PROFILE", &name},
		{"AWS_CONFIG_FILE", &config},
		{"AWS_SHARED_CREDENTIALS_FILE", &credentials},
	}, nil
}

// profileName is narrower than what AWS's tools take: the name is also part of
// a file's.
func profileName(s string) bool {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("_.@+-", rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
