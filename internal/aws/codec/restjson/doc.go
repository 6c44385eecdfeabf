// Package restjson is the wire format of SageMaker's data planes, such as its
// metrics: parameters in path, query and headers, JSON in the body. It is
// driven by the model alone. It must never answer with half a body that looks
// whole: a stream that breaks off cuts the connection. Start at Codec.
package restjson
