package transform

import (
	"cmp"
	"mime"
	"strings"

	shared "clary/internal/api"
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/job"
	"clary/internal/stage/jsonpath"
)

// maxPayload is the most that all invocations of an instance in flight may hold
// together, in MB.
const maxPayload = 100

// check refuses what AWS refuses beyond the API's model. Members that change
// nothing here are recorded and listed in docs/DIVERGENCES.md.
func (t *Transform) check(in *request) error {
	s3 := in.TransformInput.DataSource.S3DataSource
	switch {
	case s3.S3DataType != "S3Prefix" && s3.S3DataType != "ManifestFile":
		return apierr.Validation("Invalid S3DataType %s: a transform job reads S3Prefix or ManifestFile.", s3.S3DataType)
	case !job.IsS3(s3.S3Uri):
		return apierr.Validation("Invalid S3Uri %q of TransformInput: it must be of the form s3://bucket/prefix.", s3.S3Uri)
	case !job.IsS3(in.TransformOutput.S3OutputPath):
		return apierr.Validation("Invalid S3OutputPath %q: it must be of the form s3://bucket/prefix.", in.TransformOutput.S3OutputPath)
	case in.DataCaptureConfig != nil && !job.IsS3(in.DataCaptureConfig.DestinationS3Uri):
		return apierr.Validation("Invalid DestinationS3Uri %q in DataCaptureConfig: it must be of the form s3://bucket/prefix.", in.DataCaptureConfig.DestinationS3Uri)
	}
	if err := checkPayload(in); err != nil {
		return err
	}
	if err := checkProcessing(in); err != nil {
		return err
	}
	return t.CheckInstances(in.TransformResources.InstanceType, in.TransformResources.InstanceCount)
}

// checkPayload holds the limits of what is in flight.
func checkPayload(in *request) error {
	mb, many := shared.Value(in.MaxPayloadInMB), shared.Value(in.MaxConcurrentTransforms)
	switch {
	case mb > maxPayload:
		return apierr.Validation("Invalid MaxPayloadInMB %d: it must not exceed %d MB.", mb, maxPayload)
	case mb > 0 && many > maxPayload/mb:
		return apierr.Validation("MaxConcurrentTransforms * MaxPayloadInMB must not exceed %d MB; it is %d * %d MB.", maxPayload, many, mb)
	}
	return nil
}

// The formats of records that can be filtered and joined.
const (
	typeCSV   = "text/csv"
	typeJSON  = "application/json"
	typeLines = "application/jsonlines"
)

// format is what a MIME type says of records, without its parameters.
func format(mimeType string) string {
	if t, _, err := mime.ParseMediaType(mimeType); err == nil {
		return t
	}
	return strings.ToLower(strings.TrimSpace(mimeType))
}

func known(format string) bool {
	return format == typeCSV || format == typeJSON || format == typeLines
}

// checkProcessing holds what is done with records to records that it can be done
// with.
func checkProcessing(in *request) error {
	d := in.DataProcessing
	if d == nil {
		d = new(api.DataProcessing)
	}
	before, err := jsonpath.Parse(d.InputFilter)
	if err != nil {
		return apierr.Validation("Invalid InputFilter: %v", err)
	}
	after, err := jsonpath.Parse(d.OutputFilter)
	if err != nil {
		return apierr.Validation("Invalid OutputFilter: %v", err)
	}
	joins := d.JoinSource == "Input"
	ids := in.DataCaptureConfig != nil && job.IsTrue(in.DataCaptureConfig.GenerateInferenceId)
	answers, records := joins || !after.Everything(), joins || !after.Everything() || !before.Everything()
	if !records && !ids {
		return nil
	}
	content, accept, split := format(in.TransformInput.ContentType), format(in.TransformOutput.Accept), cmp.Or(in.TransformInput.SplitType, none)
	const formats = typeCSV + ", " + typeJSON + " or " + typeLines
	switch {
	case split != none && split != "Line":
		return apierr.Validation("DataProcessing and GenerateInferenceId need SplitType Line or None, not %s.", split)
	case records && !known(content):
		return apierr.Validation("Invalid ContentType %q: DataProcessing needs one of %s.", in.TransformInput.ContentType, formats)
	case answers && !known(accept):
		return apierr.Validation("Invalid Accept %q: JoinSource Input and OutputFilter need one of %s.", in.TransformOutput.Accept, formats)
	case ids && !known(cmp.Or(accept, content)):
		return apierr.Validation("Invalid Accept %q: GenerateInferenceId needs one of %s.", in.TransformOutput.Accept, formats)
	case joins && (content == typeCSV) != (accept == typeCSV):
		return apierr.Validation("JoinSource Input cannot join records of %s with answers of %s: ContentType and Accept must both be %s, or both JSON.", content, accept, typeCSV)
	case records && content == typeCSV && split != "Line":
		return apierr.Validation("DataProcessing of %s needs SplitType Line.", typeCSV)
	case answers && accept == typeCSV && in.TransformOutput.AssembleWith != "Line":
		return apierr.Validation("JoinSource Input and OutputFilter of %s need AssembleWith Line.", typeCSV)
	case content == typeCSV && !before.ByIndex():
		return apierr.Validation("Invalid InputFilter %q: a row of %s is taken as a list, so only indexes can be applied, such as $[0] or $[1:].", d.InputFilter, typeCSV)
	case accept == typeCSV && !after.ByIndex():
		return apierr.Validation("Invalid OutputFilter %q: a row of %s is taken as a list, so only indexes can be applied, such as $[0] or $[1:].", d.OutputFilter, typeCSV)
	}
	return nil
}
