package main

import (
	"fmt"
	"time"

	"github.com/chromedp/chromedp"

	"clary/internal/stage/agent"
)

// scenarios are played in this order. Half of them are held back until the
// rules are done.
func scenarios() []scenario {
	return []scenario{
		{name: "tab-open", text: "a notebook is open in a tab, and nothing else happens", play: tabOpen},
		{name: "cell-silent", text: "a cell sleeps and prints nothing, then ends", play: cellSilent},
		{name: "cell-input", text: "a cell waits for `input()`", play: cellInput},
		{name: "terminal-training", text: "a script in a terminal prints a line each few seconds, then is interrupted", play: terminalTraining},
		{name: "nohup", text: "a `nohup` job goes on after its terminal and the tab were closed, then ends", play: nohup},
		{name: "kernel-thread", text: "a thread computes in a kernel that is idle", play: kernelThread},
		{name: "vim-open", text: "vim is left open in a terminal", play: leftOpen("vim notes.md", "vim notes.md", "")},
		{name: "top-open", text: "`top` redraws in a terminal", play: leftOpen("top", "top", "")},
		{name: "server-polled", text: "a web server that a cell started is polled by a page, each second", play: serverPolled},
		{name: "markdown", text: "somebody writes a Markdown file, which is saved by itself, then leaves", play: markdown},

		{name: "tab-closed", held: true, text: "a notebook ran and its tab was closed", play: tabClosed},
		{name: "terminal-silent", held: true, text: "a script in a terminal waits long and prints nothing", play: terminalSilent},
		{name: "popen", held: true, text: "a cell starts a process and ends; the process goes on, then ends", play: popen},
		{name: "tail-watch", held: true, text: "`tail -f` and `watch` are left open in one terminal", play: tailWatch},
		{name: "typing", held: true, text: "somebody writes a command line in a terminal with long pauses, and leaves it unsent", play: typing},
		{name: "bash-magic", held: true, text: "a `%%bash` cell sleeps", play: bashMagic},
		{name: "api-polled", held: true, text: "a script outside polls Jupyter's API each second", play: apiPolled},
		{name: "repl-open", held: true, text: "Python's prompt is left open in a terminal", play: leftOpen("python3", "python3", "import math\r")},
		{name: "pool-left", held: true, text: "a process pool that a cell used is left without work", play: poolLeft},
		{name: "tab-reloaded", held: true, text: "a tab with an idle notebook is loaded anew each half minute", play: tabReloaded},
		{name: "less-pipe", held: true, text: "the end of a long listing is left in `less`", play: leftOpen("seq 1 20000 | less", "less", "")},
		{name: "keep", held: true, text: "nothing runs, and somebody presses “Keep it running”", play: keep},
	}
}

func tabOpen(s *scene) error {
	if err := s.notebook("Untitled.ipynb", "1 + 1"); err != nil {
		return err
	}
	return s.goes(false, "a tab is open, its kernel idle", nil)
}

func tabClosed(s *scene) error {
	if err := s.notebook("Untitled.ipynb", "sum(range(1000))"); err != nil {
		return err
	}
	if err := s.run("idle"); err != nil {
		return err
	}
	s.closeTab()
	return s.goes(false, "the tab is closed, the kernel idle", nil)
}

// lasting is a cell that takes a stretch and a few seconds.
func (s *scene) lasting(format string) string {
	return fmt.Sprintf(format, int((s.stretch + 10*time.Second).Seconds()))
}

func cellSilent(s *scene) error {
	if err := s.notebook("train.ipynb", s.lasting("import time\ntime.sleep(%d)")); err != nil {
		return err
	}
	if err := s.run("busy"); err != nil {
		return err
	}
	if err := s.goes(true, "the cell sleeps", nil); err != nil {
		return err
	}
	if err := s.pause(15 * time.Second); err != nil {
		return err
	}
	return s.goes(false, "the cell has ended", nil)
}

func cellInput(s *scene) error {
	if err := s.notebook("ask.ipynb", "input('go on? ')"); err != nil {
		return err
	}
	if err := s.run("busy"); err != nil {
		return err
	}
	return s.goes(true, "the cell waits for an answer", nil)
}

func bashMagic(s *scene) error {
	if err := s.notebook("bash.ipynb", s.lasting("%%%%bash\nsleep %d")); err != nil {
		return err
	}
	if err := s.run("busy"); err != nil {
		return err
	}
	return s.goes(true, "the script sleeps", nil)
}

func terminalTraining(s *scene) error {
	if err := s.file("train.py", "import time\nfor i in range(10**6):\n    sum(range(10**6))\n    print('epoch', i, flush=True)\n    time.sleep(3)\n"); err != nil {
		return err
	}
	if err := s.terminal(); err != nil {
		return err
	}
	if err := s.command("python train.py", "python train.py"); err != nil {
		return err
	}
	if err := s.goes(true, "the script trains", nil); err != nil {
		return err
	}
	if err := s.ctrl("c"); err != nil {
		return err
	}
	if err := s.gone("python train.py"); err != nil {
		return err
	}
	return s.goes(false, "the shell is at its prompt", nil)
}

func terminalSilent(s *scene) error {
	if err := s.file("wait.py", "import time\ntime.sleep(10**6)\n"); err != nil {
		return err
	}
	if err := s.terminal(); err != nil {
		return err
	}
	if err := s.command("python wait.py", "python wait.py"); err != nil {
		return err
	}
	return s.goes(true, "the script waits", nil)
}

func nohup(s *scene) error {
	if err := s.terminal(); err != nil {
		return err
	}
	line := s.lasting("sleep %d")
	if err := s.command("nohup sh -c '"+line+"; echo done' > out.log &", line); err != nil {
		return err
	}
	if err := s.key("exit\r"); err != nil {
		return err
	}
	if err := s.gone("bash -l"); err != nil {
		return err
	}
	s.closeTab()
	if err := s.goes(true, "the job runs, no terminal and no tab are open", nil); err != nil {
		return err
	}
	if err := s.gone(line); err != nil {
		return err
	}
	return s.goes(false, "the job has ended", nil)
}

func popen(s *scene) error {
	line := s.lasting("sleep %d")
	if err := s.notebook("start.ipynb", "import subprocess\np = subprocess.Popen('"+line+"; true', shell=True)"); err != nil {
		return err
	}
	if err := s.run("idle"); err != nil {
		return err
	}
	if err := s.goes(true, "the process runs, the kernel is idle", nil); err != nil {
		return err
	}
	if err := s.gone(line); err != nil {
		return err
	}
	return s.goes(false, "the process has ended", nil)
}

func kernelThread(s *scene) error {
	if err := s.notebook("thread.ipynb", "import threading\nstop = False\ndef work():\n    while not stop:\n        sum(range(10**5))\nthreading.Thread(target=work).start()"); err != nil {
		return err
	}
	if err := s.run("idle"); err != nil {
		return err
	}
	return s.goes(true, "the thread computes", nil)
}

func poolLeft(s *scene) error {
	if err := s.notebook("pool.ipynb", "import multiprocessing\npool = multiprocessing.get_context('fork').Pool(3)\npool.map(abs, range(10))\nspawned = multiprocessing.get_context('spawn').Pool(2)\nspawned.map(abs, range(10))"); err != nil {
		return err
	}
	if err := s.run("idle"); err != nil {
		return err
	}
	return s.goes(false, "the workers wait", nil)
}

// leftOpen leaves a program open in a terminal.
func leftOpen(line, args, keys string) func(*scene) error {
	return func(s *scene) error {
		if err := s.terminal(); err != nil {
			return err
		}
		if err := s.command(line, args); err != nil {
			return err
		}
		if err := s.key(keys); err != nil {
			return err
		}
		return s.goes(false, line+" is open", nil)
	}
}

func tailWatch(s *scene) error {
	if err := s.file("growing.log", "begin\n"); err != nil {
		return err
	}
	if err := s.terminal(); err != nil {
		return err
	}
	if err := s.command("tail -f growing.log &", "tail -f growing.log"); err != nil {
		return err
	}
	if err := s.command("watch -n 2 ls -l", "watch -n 2 ls -l"); err != nil {
		return err
	}
	return s.goes(false, "both wait for something new", nil)
}

func typing(s *scene) error {
	if err := s.terminal(); err != nil {
		return err
	}
	if err := s.goes(true, "somebody types", func(until time.Time) error {
		for time.Now().Before(until) {
			if err := s.key("a"); err != nil {
				return err
			}
			if err := s.pause(12 * time.Second); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return s.goes(false, "the line stands there", nil)
}

const pollingPage = `setInterval(() => fetch("/proxy/6006/").then(r => r.text()), 1000); true`

func serverPolled(s *scene) error {
	if err := s.notebook("board.ipynb", "import subprocess, sys\np = subprocess.Popen([sys.executable, '-m', 'http.server', '6006'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"); err != nil {
		return err
	}
	if err := s.run("idle"); err != nil {
		return err
	}
	var ok bool
	if err := s.js(pollingPage, &ok); err != nil {
		return err
	}
	return s.goes(false, "the page polls, the server answers", nil)
}

func apiPolled(s *scene) error {
	if err := s.notebook("Untitled.ipynb", "1 + 1"); err != nil {
		return err
	}
	s.closeTab()
	return s.goes(false, "the script polls", func(until time.Time) error {
		for time.Now().Before(until) {
			for _, path := range []string{"api/status", "api/kernels", "api/sessions", "api/terminals", "api/contents/"} {
				if err := s.lab.Do(s.ctx, "GET", path, nil, nil); err != nil {
					return err
				}
			}
			if err := s.pause(time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}

func tabReloaded(s *scene) error {
	if err := s.notebook("Untitled.ipynb", "1 + 1"); err != nil {
		return err
	}
	return s.goes(false, "the page is loaded again and again", func(until time.Time) error {
		for time.Now().Before(until) {
			if err := s.visit("/lab/tree/Untitled.ipynb"); err != nil {
				return err
			}
			if err := s.pause(30 * time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}

func markdown(s *scene) error {
	if err := s.file("notes.md", "# Notes\n"); err != nil {
		return err
	}
	if err := s.visit("/lab/tree/notes.md"); err != nil {
		return err
	}
	if err := s.do(chromedp.WaitReady(".jp-FileEditor .cm-content", chromedp.ByQuery), chromedp.Focus(".jp-FileEditor .cm-content", chromedp.ByQuery)); err != nil {
		return err
	}
	if err := s.goes(true, "somebody writes", func(until time.Time) error {
		for time.Now().Before(until) {
			if err := s.key("word "); err != nil {
				return err
			}
			if err := s.pause(4 * time.Second); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	// what was written last is saved by itself
	if err := s.pause(70 * time.Second); err != nil {
		return err
	}
	return s.goes(false, "the file is open and saved", nil)
}

func keep(s *scene) error {
	if err := s.goes(false, "JupyterLab is open", nil); err != nil {
		return err
	}
	warning := fmt.Sprintf(`{"StopAt": %q, "Idle": %d}`, time.Now().Add(5*time.Minute).UTC().Format(time.RFC3339), 55*time.Minute)
	var status int
	if err := s.js(`fetch("/proxy/8889/warn", {method: "POST", headers: {"X-XSRFToken": document.cookie.match(/_xsrf=([^;]+)/)[1]}, body: `+"`"+warning+"`"+`}).then(r => r.status)`, &status); err != nil || status != 200 {
		return fmt.Errorf("warn: %d, %w", status, err)
	}
	// it comes in from the side
	if err := s.until("the warning in its place", `(e => e && e.getAnimations().length === 0 && e.getBoundingClientRect().right <= innerWidth)(document.querySelector(".Toastify__toast"))`); err != nil {
		return err
	}
	if err := s.click(`[...document.querySelectorAll(".Toastify__toast button")].find(e => e.innerText.trim() === "Keep it running")`); err != nil {
		return err
	}
	if err := s.await("that it was heard", func(x agent.Sample) bool { return !x.Kept.IsZero() }); err != nil {
		return err
	}
	return s.goes(false, "“Keep it running” was pressed", nil)
}
