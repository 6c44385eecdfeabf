package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// helpful has every command say how it is used when it was used wrongly.
func helpful(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())
	})
	if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				use := c.UseLine()
				if c.Example != "" {
					use = strings.TrimSpace(c.Example)
				}
				return fmt.Errorf("%w; usage: %s", err, use)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		helpful(c)
	}
}

// unknown adds to an error of cobra's what to do; it has no type for it.
func unknown(err error) error {
	if strings.HasPrefix(err.Error(), "unknown command ") && strings.HasSuffix(err.Error(), ` for "clary"`) {
		return fmt.Errorf("%w; `clary help` lists what there is", err)
	}
	return err
}
