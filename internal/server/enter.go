package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"clary/internal/front"
)

const (
	startingWait = 10 * time.Second // for a server that starts to be one that can be replaced
	releaseWait  = lull + lastWait + time.Minute
	deathWait    = 2 * drain // for the data folder, after the other server's end
)

// predecessor is the server whose place this one takes; nil: there is none.
type predecessor struct {
	line line
	pid  int
}

// serves tells it that this one answers.
func (p *predecessor) serves() { p.end(message{Say: sayServes}) }

// fails tells it that this one does not.
func (p *predecessor) fails(err error) {
	if err == nil {
		err = errors.New("it was stopped")
	}
	p.end(message{Say: sayFailed, Text: err.Error()})
}

// end is the last word, once. A server that is gone needs none.
func (p *predecessor) end(m message) {
	if p == nil || p.line.c == nil {
		return
	}
	_ = p.line.send(m)
	p.line.close()
	p.line.c = nil
}

// enter takes a place: an empty one, or that of the server that runs.
func enter(ctx context.Context, cfg *Config, log *slog.Logger) (*place, *predecessor, error) {
	if !cfg.Replace {
		p, err := openPlace(*cfg)
		if errors.Is(err, errInUse) {
			err = fmt.Errorf("%w; `clary serve --replace` takes its place", err)
		}
		return p, nil, err
	}
	if err := canReplace(); err != nil {
		return nil, nil, err
	}
	for begun := time.Now(); ; {
		l, err := dialDoor(filepath.Join(cfg.Data, "run", doorSocket))
		if err == nil {
			defer context.AfterFunc(ctx, l.close)() // whoever waits is told to stop
			p, before, err := succeed(cfg, l, log)
			if errors.Is(err, errGone) && ctx.Err() == nil && time.Since(begun) < startingWait {
				l.close()
				continue // it died; nobody is there, or another one
			}
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if err != nil {
				before.fails(err)
				l.close()
				p.close()
			}
			return p, before, err
		}
		if !absent(err) {
			return nil, nil, fmt.Errorf("replace the server on %s: %w", cfg.Data, err)
		}
		alone := *cfg
		if alone.Listen == "" {
			alone.Listen = defaultListen
		}
		if err := alone.checkListen(); err != nil {
			return nil, nil, err
		}
		p, err := openPlace(alone)
		if err == nil {
			cfg.Listen = alone.Listen
			log.Info("no server runs that could be replaced; this one starts")
			return p, nil, nil
		}
		if !errors.Is(err, errInUse) {
			return nil, nil, err
		}
		if time.Since(begun) > startingWait || ctx.Err() != nil {
			return nil, nil, fmt.Errorf("%w that cannot be replaced: it is starting, or of a version without --replace. Stop it, by `clary down`, then start this one", err)
		}
	}
}

var errGone = errors.New("the exchange was ended by the server")

// succeed asks the server at the other end for its place.
func succeed(cfg *Config, l line, log *slog.Logger) (*place, *predecessor, error) {
	p := new(place)
	if err := preflight(*cfg); err != nil {
		return p, nil, err
	}
	_ = l.send(message{Say: sayReplace, Version: exchange, PID: os.Getpid()}) // a server that is gone shows below
	m, files, err := l.receive(replyWait)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p, nil, fmt.Errorf("the server on %s does not answer; nothing was changed. `clary down` or a signal ends it", cfg.Data)
	case errors.Is(err, io.EOF):
		return p, nil, fmt.Errorf("%w on %s; nothing was changed", errGone, cfg.Data)
	case err != nil:
		return p, nil, fmt.Errorf("the exchange with the server on %s: %w; nothing was changed", cfg.Data, err)
	case m.Say != sayOffer:
		closeAll(files)
		return p, nil, fmt.Errorf("the server on %s, process %d, refuses: %s", cfg.Data, m.PID, m.Text)
	}
	if p, err = placeOf(files); err != nil {
		return p, nil, err
	}
	if err := agree(cfg, m.Listen, p.users[0].Addr()); err != nil {
		return p, nil, err
	}
	before := &predecessor{l, m.PID}
	if err := l.send(message{Say: sayTake}); err != nil {
		return p, before, fmt.Errorf("the server on %s, process %d, ended the exchange: %w", cfg.Data, m.PID, err)
	}
	log.Info("replacing the server that runs, when what it has begun is done", "process", m.PID)
	wait := lockWait
	switch r, more, err := l.receive(releaseWait); {
	case errors.Is(err, io.EOF): // it was killed, or stopped as we came
		log.Warn("the server that was to be replaced has ended by itself", "process", m.PID)
		wait = deathWait
	case err != nil:
		return p, before, fmt.Errorf("the server on %s, process %d, does not let go of the data folder: %w", cfg.Data, m.PID, err)
	case r.Say != sayReleased:
		closeAll(more)
		return p, before, fmt.Errorf("the server on %s, process %d, does not let go of the data folder: %s", cfg.Data, m.PID, r.Text)
	}
	p.unlock, err = lock(cfg.Data, wait)
	return p, before, err
}

// preflight finds what would keep a server from starting, before the one that
// runs lets go.
func preflight(cfg Config) error {
	if _, err := priceBooks(cfg.Prices); err != nil {
		return err
	}
	if cfg.TLSCert != "" {
		if _, err := front.LoadCertificate(cfg.TLSCert, cfg.TLSKey, slog.New(slog.DiscardHandler)); err != nil {
			return err
		}
	}
	f, err := taskbin.Open("taskbin/clary-task")
	if err != nil {
		return errNoTask
	}
	return f.Close()
}

// agree takes the address that is served, or refuses another one: a socket
// that was handed over listens where it does.
func agree(cfg *Config, theirs string, at net.Addr) error {
	if cfg.Listen == "" {
		cfg.Listen = theirs
		return cfg.checkListen()
	}
	want, err := net.ResolveTCPAddr("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	have, ok := at.(*net.TCPAddr)
	if ok && want.Port == have.Port && (want.IP.Equal(have.IP) || want.IP.IsUnspecified() && have.IP.IsUnspecified()) {
		return nil
	}
	return fmt.Errorf("--listen %s: the server that runs listens on %s, and its place is taken with its sockets. Leave --listen away, or stop it first, by `clary down`", cfg.Listen, at)
}
