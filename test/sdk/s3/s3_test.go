package s3_test

import "testing"

func TestBuckets(t *testing.T)   { python(t, "buckets.py") }
func TestObjects(t *testing.T)   { python(t, "objects.py") }
func TestLists(t *testing.T)     { python(t, "lists.py") }
func TestMultipart(t *testing.T) { python(t, "multipart.py") }
func TestCopies(t *testing.T)    { python(t, "copies.py") }
func TestPresigned(t *testing.T) { python(t, "presigned.py") }
