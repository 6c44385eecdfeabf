//go:build !linux

package folder

import (
	"errors"
	"os"
)

func headStart(*os.File, int64, int64) {}

func reserve(*os.File, int64) error { return errors.ErrUnsupported }
