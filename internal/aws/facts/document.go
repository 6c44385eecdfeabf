package facts

// Document is a stripped service model as it is kept in the repository: what
// tool/modelgen writes and Parse reads. Lists keep the model's order.
type Document struct {
	Service         string         `json:"service"` // botocore's name
	ServiceID       string         `json:"serviceId"`
	APIVersion      string         `json:"apiVersion"`
	Protocol        string         `json:"protocol"`
	Protocols       []string       `json:"protocols,omitzero"`
	JSONVersion     string         `json:"jsonVersion,omitzero"`
	TargetPrefix    string         `json:"targetPrefix,omitzero"`
	EndpointPrefix  string         `json:"endpointPrefix"`
	SigningName     string         `json:"signingName,omitzero"`
	XMLNamespace    string         `json:"xmlNamespace,omitzero"`
	QueryCompatible bool           `json:"queryCompatible,omitzero"`
	Operations      []OperationDoc `json:"operations"`
	Shapes          []ShapeDoc     `json:"shapes"`
}

// OperationDoc is one operation of a Document.
type OperationDoc struct {
	Name          string   `json:"name"`
	Method        string   `json:"method"`
	URI           string   `json:"uri"`
	Code          int      `json:"code,omitzero"`
	Input         string   `json:"input,omitzero"`
	InputName     string   `json:"inputName,omitzero"`      // element of the whole input
	InputNS       string   `json:"inputNamespace,omitzero"` // its namespace
	Output        string   `json:"output,omitzero"`
	ResultWrapper string   `json:"resultWrapper,omitzero"`
	Errors        []string `json:"errors,omitzero"`
	AuthType      string   `json:"authtype,omitzero"`
	Checksum      Checksum `json:"checksum,omitzero"`
}

// Checksum says which checksum members an operation has.
type Checksum struct {
	RequestRequired        bool     `json:"requestChecksumRequired,omitzero"`
	RequestAlgorithmMember string   `json:"requestAlgorithmMember,omitzero"`
	RequestValidationMode  string   `json:"requestValidationModeMember,omitzero"`
	ResponseAlgorithms     []string `json:"responseAlgorithms,omitzero"`
}

// ShapeDoc is one shape of a Document.
type ShapeDoc struct {
	Name            string      `json:"name"`
	Type            Type        `json:"type"`
	Members         []MemberDoc `json:"members,omitzero"`
	Element         *MemberDoc  `json:"element,omitzero"`
	Key             *MemberDoc  `json:"key,omitzero"`
	Value           *MemberDoc  `json:"value,omitzero"`
	Min             *float64    `json:"min,omitzero"`
	Max             *float64    `json:"max,omitzero"`
	Pattern         string      `json:"pattern,omitzero"`
	Enum            []string    `json:"enum,omitzero"`
	Payload         string      `json:"payload,omitzero"`
	LocationName    string      `json:"locationName,omitzero"`
	XMLNamespace    string      `json:"xmlNamespace,omitzero"`
	TimestampFormat string      `json:"timestampFormat,omitzero"`
	Flattened       bool        `json:"flattened,omitzero"`
	Union           bool        `json:"union,omitzero"`
	Sensitive       bool        `json:"sensitive,omitzero"`
	EventStream     bool        `json:"eventstream,omitzero"`
	Event           bool        `json:"event,omitzero"`
	Exception       bool        `json:"exception,omitzero"`
	Fault           bool        `json:"fault,omitzero"`
	ErrorCode       string      `json:"errorCode,omitzero"`
	ErrorStatus     int         `json:"errorStatus,omitzero"`
}

// MemberDoc is a reference to a shape: a member, a list's element, a map's key
// or value.
type MemberDoc struct {
	Name             string `json:"name,omitzero"`
	Shape            string `json:"shape"`
	Required         bool   `json:"required,omitzero"`
	Location         string `json:"location,omitzero"` // header, headers, querystring, uri, statusCode
	LocationName     string `json:"locationName,omitzero"`
	XMLNamespace     string `json:"xmlNamespace,omitzero"`
	XMLPrefix        string `json:"xmlPrefix,omitzero"`
	XMLAttribute     bool   `json:"xmlAttribute,omitzero"`
	Flattened        bool   `json:"flattened,omitzero"`
	Streaming        bool   `json:"streaming,omitzero"`
	JSONValue        bool   `json:"jsonvalue,omitzero"`
	IdempotencyToken bool   `json:"idempotencyToken,omitzero"`
	EventPayload     bool   `json:"eventpayload,omitzero"`
}
