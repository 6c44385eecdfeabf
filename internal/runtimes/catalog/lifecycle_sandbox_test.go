//go:build linux

package catalog_test

import (
	"bufio"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
	"clary/internal/stage/agent"
)

// installs is a lifecycle script that does to the real runtime what scripts for
// SageMaker do.
const installs = `#!/bin/bash
set -e
sudo -u ec2-user -i <<'EOF'
set -e
source /home/ec2-user/anaconda3/bin/activate JupyterSystemEnv
pip install -q jupyter-resource-usage==1.1.0
jupyter serverextension enable jupyter_resource_usage --py --sys-prefix 2>&1 | grep -v '^$'
jupyter serverextension enable jupyterlab_git --py --sys-prefix 2>&1 | grep -c 'successfully enabled'
pip list 2>/dev/null | grep -c jupyter-resource-usage
source /home/ec2-user/anaconda3/bin/deactivate
source /home/ec2-user/anaconda3/bin/activate python3
pip install -q --upgrade tabulate==0.9.0
python -c 'import tabulate, sys; print(tabulate.__version__, sys.prefix)'
python -c 'import jupyter_resource_usage' 2>&1 | tail -1
cat > ~/SageMaker/own.ipynb <<'NB'
{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "execution_count": null, "outputs": [], "source": "import tabulate; print('cell', 6 * 7)"}],
 "metadata": {"kernelspec": {"name": "python3", "display_name": "x"}}, "nbformat": 4, "nbformat_minor": 5}
NB
EOF
source /home/ec2-user/anaconda3/bin/activate python3
jupyter nbconvert /home/ec2-user/SageMaker/own.ipynb --ExecutePreprocessor.kernel_name=python --execute --to notebook --stdout 2>/dev/null | jq -r '.cells[0].outputs[0].text[0]'
source /home/ec2-user/anaconda3/bin/deactivate
/usr/bin/env python -c 'import boto3, requests; print("boto3")'
/usr/bin/env python3.8 -c 'import boto3, requests; print("boto3")'
aws --version 2>&1 | cut -d/ -f1
nohup python /opt/probe/lifecycle.py 2>&1 &
`

// lifecycle runs a script in an instance of the real runtime.
func lifecycle(t *testing.T, d *sandbox.Driver, task compute.Task) {
	t.Helper()
	order, err := json.Marshal(agent.Order{Name: "n", Root: true, OnStart: installs})
	if err != nil {
		t.Fatal(err)
	}
	task.ID, task.Grace = "notebook-3", time.Minute
	task.User = &compute.User{Name: task.User.Name, Home: task.User.Home, Sudo: true}
	task.Files = append(task.Files, compute.File{Path: agent.OrderFile, Mode: 0o400, Data: order})
	if err := d.Start(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Remove(context.Background(), task.ID) })
	spool, err := d.Spool(t.Context(), task.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close() //nolint:errcheck // read to its end
	var script []string
	for lines := bufio.NewScanner(spool); lines.Scan(); {
		_, line, _ := strings.Cut(lines.Text(), " ")
		t.Log(line)
		text, ok := strings.CutPrefix(line, agent.Mark+agent.StreamOnStart+agent.Mark)
		if ok {
			script = append(script, text)
		}
		if text == "ok log" || strings.Contains(line, "Traceback") || strings.Contains(line, "failed. Please") {
			if err := d.Stop(t.Context(), task.ID, task.Grace); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := "\n" + strings.Join(script, "\n") + "\n"
	for _, want := range []string{
		"Enabling: jupyter_resource_usage", "\n1\n1\n0.9.0 /home/ec2-user/anaconda3/envs/python3\nModuleNotFoundError: No module named 'jupyter_resource_usage'\ncell 42\n\nboto3\nboto3\naws-cli\n",
		"ok sessions", "ok server extension", "ok extensions", "ok restart", "ok log",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in%s", want, all)
		}
	}
}
