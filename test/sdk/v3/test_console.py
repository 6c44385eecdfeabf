"""The code that an empty page of the console shows is run as it stands."""

import pytest

from pages import Console, end_notebook, jobs, run, serve_snippets


def test_training_snippet(tmp_path):
    region = "eu-central-1"
    console = Console(region)
    run(console.snippets("training-jobs")["v3"], "v3", region, tmp_path)
    page = console.page("/training-jobs")
    assert "data-snippet" not in page and "iris" in page and "Completed" in page


@pytest.mark.long
def test_processing_snippet(tmp_path):
    region = "ap-northeast-3"
    console = Console(region)
    run(console.snippets("processing-jobs")["v3"], "v3", region, tmp_path)
    page = console.page("/processing-jobs")
    assert "data-snippet" not in page and "clean-iris" in page and "Completed" in page
    job = jobs(page).pop()
    page = console.page("/" + job)
    assert "150 rows" in page and "iris.csv" in page
    run(console.snippets(job + "/code")["v3"], "v3", region, tmp_path)  # what made it makes it again
    assert len(jobs(console.page("/processing-jobs"))) == 2


def test_activity_snippet(tmp_path):
    region = "ap-northeast-1"
    console = Console(region)
    run(console.snippets("activity")["v3"], "v3", region, tmp_path)
    assert "CreateBucket" in console.page("/activity")


def test_notebook_snippet(tmp_path):
    region = "ap-northeast-2"
    console = Console(region)
    run(console.snippets("notebook-instances")["v3"], "v3", region, tmp_path)
    page = console.page("/notebook-instances")
    assert "data-snippet" not in page and "first-steps" in page and "InService" in page
    end_notebook(region)


def test_code_snippets(tmp_path):
    region = "ap-northeast-3"
    console = Console(region)
    for section, thing in (("git-repositories", "my-project"), ("lifecycle-configurations", "install-packages")):
        run(console.snippets(section)["v3"], "v3", region, tmp_path)
        page = console.page("/" + section)
        assert "data-snippet" not in page and thing in page, section


@pytest.mark.long
def test_serving_snippets(tmp_path):
    serve_snippets("v3", "me-south-1", tmp_path)
