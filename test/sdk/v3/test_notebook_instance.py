"""SDK v3: a notebook instance as the resource that the SDK makes of it."""

from sagemaker.core.resources import NotebookInstance

from helpers import ROLE, name


def test_life():
    nb = NotebookInstance.create(notebook_instance_name=name("nb"), instance_type="ml.t3.medium", role_arn=ROLE)
    assert nb.notebook_instance_status == "Pending"
    nb.wait_for_status("InService", poll=1, timeout=600)
    nb.refresh()
    assert (nb.volume_size_in_gb, nb.root_access, nb.role_arn) == (5, "Enabled", ROLE)
    assert nb.notebook_instance_name in [n.notebook_instance_name for n in NotebookInstance.get_all(status_equals="InService")]

    nb.stop()
    nb.wait_for_status("Stopped", poll=1, timeout=120)
    nb.update(volume_size_in_gb=7, instance_type="ml.t3.large")
    nb.wait_for_status("Stopped", poll=1, timeout=120)
    assert (nb.refresh().volume_size_in_gb, nb.instance_type) == (7, "ml.t3.large")
    nb.delete()
    nb.wait_for_delete(poll=1, timeout=120)
    assert nb.notebook_instance_name not in [n.notebook_instance_name for n in NotebookInstance.get_all()]
