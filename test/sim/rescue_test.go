package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
)

const loose = "loose.tar.gz"

// sheltering is a task that rescues what it finds on the volume when it begins.
func sheltering(t compute.Task, sc fake.Script, a fake.Agent) fake.Script {
	a.Found = map[string]string{}
	sc.Work = func(files map[string]string) []string {
		if text := archive(files, runtimes.NotebookDir+"/"); text != "" {
			a.Found[loose] = text
		}
		return nil
	}
	sc.Serve = a.Ports(t, sc.Delay, runtimes.NotebookPort, nil)
	return sc
}

// archive is all that lies below a folder.
func archive(files map[string]string, below string) (text string) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if name, ok := strings.CutPrefix(p, below); ok {
			text += fmt.Sprintf("%s: %s", name, files[p])
		}
	}
	return text
}

// mortalKeeper is the account's bucket as long as the server lives.
type mortalKeeper struct{ l *life }

func (mortalKeeper) Bucket(account, region string) string { return region + account }

func (m mortalKeeper) Has(_ context.Context, _, _, key string, f agent.File) (bool, error) {
	return asked(m.l, func() (bool, error) {
		m.l.s.mu.Lock()
		defer m.l.s.mu.Unlock()
		return int64(len(m.l.s.kept[key])) == f.Bytes, nil
	})
}

func (m mortalKeeper) Keep(_ context.Context, _, _, key string, f agent.File, body io.Reader) error {
	return m.l.around("keep", func() error {
		if err := m.l.s.noRoom(); err != nil {
			return err
		}
		b, err := io.ReadAll(body)
		if err == nil && int64(len(b)) != f.Bytes {
			err = io.ErrUnexpectedEOF
		}
		if err == nil && m.l.s.roll(10) == 0 {
			err = errors.New("the bucket hiccups")
		}
		if err != nil {
			return err
		}
		m.l.s.mu.Lock()
		m.l.s.kept[key] = string(b)
		m.l.s.mu.Unlock()
		return nil
	})
}

// judgeRescue sees that what lies on a volume that is about to be destroyed is
// in the bucket, and nothing where nothing was.
func (s *sim) judgeRescue(id compute.VolumeID) {
	_, files, ok := s.world.Volume(id)
	if !ok {
		return // it was destroyed before
	}
	s.mu.Lock()
	kept := maps.Clone(s.kept)
	s.mu.Unlock()
	maps.DeleteFunc(kept, func(key, _ string) bool { return !strings.Contains(key, string(id)) })
	if len(files) == 0 {
		if len(kept) > 0 {
			s.fail("of volume %s, which is empty, there are %v", id, kept)
		}
		return
	}
	for key, doc := range kept {
		folder, ok := strings.CutSuffix(key, "manifest.json")
		var m agent.Manifest
		if ok && json.Unmarshal([]byte(doc), &m) == nil && len(m.Files) == 1 && m.Files[0].Name == loose && kept[folder+loose] == archive(files, "") {
			return
		}
	}
	s.fail("volume %s with %v is destroyed, and the bucket has %v", id, files, kept)
}
