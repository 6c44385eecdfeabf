// Package catalog is the runtimes.Catalog: recipes for the image names that
// SageMaker's SDKs use, built inside tasks of a driver and kept by content
// under the data folder. It never runs a package's code in the server, and a
// runtime that it once called ready never changes. Start at New, then Resolve
// and Ensure.
package catalog
