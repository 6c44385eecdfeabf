"""The code that an empty page of the console shows is run as it stands."""

import pytest

from pages import Console, end_notebook, jobs, run, serve_snippets

# A region of its own for each: its pages are empty, whatever others do.
JOBS = {"v2": "eu-west-2", "boto3": "eu-west-1", "cli": "us-west-2"}
BOOKS = {"v2": "ca-central-1", "boto3": "eu-north-1", "cli": "sa-east-1"}
CODE = {"v2": "eu-west-3", "boto3": "us-west-1", "cli": "ap-southeast-1"}
SERVED = {"v2": "af-south-1", "boto3": "ap-east-1", "cli": "eu-south-1"}
CALLS = {"v2": "ap-south-1", "boto3": "us-east-2", "cli": "ap-southeast-2"}


@pytest.mark.long
@pytest.mark.parametrize("client", JOBS)
def test_training_snippet(client, tmp_path):
    region = JOBS[client]
    console = Console(region)
    code = console.snippets("training-jobs")[client]
    assert console.snippets("billing")[client] == code
    out = run(code, client, region, tmp_path)
    assert "model.tar.gz" in out or "Completed" in out, out
    page = console.page("/training-jobs")
    assert "data-snippet" not in page and "iris" in page and "Completed" in page
    assert "iris" in console.bill()


@pytest.mark.long
@pytest.mark.parametrize("client", CODE)
def test_processing_snippet(client, tmp_path):
    region = CODE[client]
    console = Console(region)
    out = run(console.snippets("processing-jobs")[client], client, region, tmp_path)
    assert "Completed" in out, out
    page = console.page("/processing-jobs")
    assert "data-snippet" not in page and "clean-iris" in page and "Completed" in page
    job = jobs(page).pop()
    page = console.page("/" + job)
    assert "150 rows" in page and "iris.csv" in page
    run(console.snippets(job + "/code")[client], client, region, tmp_path)  # what made it makes it again
    assert len(jobs(console.page("/processing-jobs"))) == 2


@pytest.mark.parametrize("client", CALLS)
def test_activity_snippet(client, tmp_path):
    region = CALLS[client]
    console = Console(region)
    run(console.snippets("activity")[client], client, region, tmp_path)
    assert "CreateBucket" in console.page("/activity")


@pytest.mark.parametrize("client", BOOKS)
def test_notebook_snippet(client, tmp_path):
    region = BOOKS[client]
    console = Console(region)
    out = run(console.snippets("notebook-instances")[client], client, region, tmp_path)
    assert "authToken" in out, out
    page = console.page("/notebook-instances")
    assert "data-snippet" not in page and "first-steps" in page and "InService" in page
    end_notebook(region)
    assert "data-snippet" in console.page("/notebook-instances")  # empty again


@pytest.mark.parametrize("client", CODE)
def test_code_snippets(client, tmp_path):
    region = CODE[client]
    console = Console(region)
    for section, thing in (("git-repositories", "my-project"), ("lifecycle-configurations", "install-packages")):
        run(console.snippets(section)[client], client, region, tmp_path)
        page = console.page("/" + section)
        assert "data-snippet" not in page and thing in page, section
    assert "https://github.com/aws/amazon-sagemaker-examples.git" in console.page("/git-repositories/my-project")
    assert "pip install" in console.page("/lifecycle-configurations/install-packages")


@pytest.mark.long
@pytest.mark.parametrize("client", SERVED)
def test_serving_snippets(client, tmp_path):
    serve_snippets(client, SERVED[client], tmp_path)
