package s3_test

import "testing"

func TestBuckets(t *testing.T)   { python(t, "http", "buckets.py") }
func TestObjects(t *testing.T)   { python(t, "http", "objects.py") }
func TestLists(t *testing.T)     { python(t, "http", "lists.py") }
func TestMultipart(t *testing.T) { python(t, "http", "multipart.py") }
func TestCopies(t *testing.T)    { python(t, "http", "copies.py") }
func TestVersions(t *testing.T)  { python(t, "http", "versions.py") }
func TestPresigned(t *testing.T) { python(t, "http", "presigned.py") }

// Over TLS boto3 sends bodies in chunks with trailing checksums.
func TestObjectsTLS(t *testing.T)   { python(t, "https", "objects.py") }
func TestMultipartTLS(t *testing.T) { python(t, "https", "multipart.py") }

func TestCLI(t *testing.T) { run(t, "http", "sh", "cli.sh") }
