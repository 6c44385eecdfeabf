// Package checksum computes the checksums that S3 keeps beside an object and
// derives those of a multipart object from those of its parts. It reads no
// files. Start at New, Combine and Composite.
package checksum

import (
	"crypto/md5"  //nolint:gosec // S3 defines this checksum; it guards against accidents only
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/minio/crc64nvme"
)

// The algorithms, as S3 names them.
const (
	CRC32     = "CRC32"
	CRC32C    = "CRC32C"
	CRC64NVME = "CRC64NVME"
	SHA1      = "SHA1"
	SHA256    = "SHA256"
	SHA512    = "SHA512"
	MD5       = "MD5"
)

// The two ways in which a multipart object is summed.
const (
	FullObject = "FULL_OBJECT"
	Composite  = "COMPOSITE"
)

// Polynomials in reflected form.
const (
	poly32   = crc32.IEEE
	poly32c  = crc32.Castagnoli
	poly64nv = 0x9A6C9329AC4BC9B5
)

var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(poly32c) })

// All lists the algorithms in the order in which S3 names them.
func All() []string {
	return []string{CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5}
}

// Known says whether the algorithm can be computed.
func Known(algorithm string) bool { return slices.Contains(All(), algorithm) }

// New gives a hash of the algorithm, nil when it is not known.
func New(algorithm string) hash.Hash {
	switch algorithm {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(castagnoli())
	case CRC64NVME:
		return crc64nvme.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	case MD5:
		return md5.New()
	}
	return nil
}

// Size is the length of a sum in bytes, 0 when the algorithm is not known.
func Size(algorithm string) int {
	h := New(algorithm)
	if h == nil {
		return 0
	}
	return h.Size()
}

// Of gives the sum of data in base64.
func Of(algorithm string, data []byte) string {
	h := New(algorithm)
	if h == nil {
		return ""
	}
	h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// Valid says whether sum is a base64 sum of the algorithm.
func Valid(algorithm, sum string) bool {
	b, err := base64.StdEncoding.DecodeString(sum)
	return err == nil && len(b) == Size(algorithm)
}

// CanCombine says whether the sum of a whole follows from those of its parts.
func CanCombine(algorithm string) bool {
	return algorithm == CRC32 || algorithm == CRC32C || algorithm == CRC64NVME
}

// DefaultType is what S3 assumes for an upload that names an algorithm only.
func DefaultType(algorithm string) string {
	if algorithm == CRC64NVME {
		return FullObject
	}
	return Composite
}

// Allowed says whether S3 sums uploads with the algorithm in that way.
func Allowed(algorithm, typ string) bool {
	switch typ {
	case FullObject:
		return CanCombine(algorithm)
	case Composite:
		return algorithm != CRC64NVME && Known(algorithm)
	}
	return false
}

// Piece is the sum of one part.
type Piece struct {
	Sum  string // base64
	Size int64
}

// OfParts gives the sum of an object made of parts. A composite sum ends with
// a dash and the number of parts.
func OfParts(algorithm, typ string, parts []Piece) (string, error) {
	if !Allowed(algorithm, typ) {
		return "", fmt.Errorf("checksum %s cannot be %s", algorithm, typ)
	}
	h := New(algorithm)
	size := h.Size()
	var crc uint64
	for i, p := range parts {
		raw, err := base64.StdEncoding.DecodeString(p.Sum)
		if err != nil || len(raw) != size {
			return "", fmt.Errorf("checksum of part %d is not a %s", i+1, algorithm)
		}
		if typ == Composite {
			h.Write(raw)
			continue
		}
		var next uint64
		if size == 8 {
			next = binary.BigEndian.Uint64(raw)
		} else {
			next = uint64(binary.BigEndian.Uint32(raw))
		}
		if i == 0 {
			crc = next
		} else {
			crc = combine(algorithm, crc, next, p.Size)
		}
	}
	if typ == Composite {
		return fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(h.Sum(nil)), len(parts)), nil
	}
	var out [8]byte
	binary.BigEndian.PutUint64(out[:], crc)
	return base64.StdEncoding.EncodeToString(out[8-size:]), nil
}

// combine gives the CRC of a and b together from the CRC of each and the
// length of b: appending n bytes multiplies a's remainder by x^(8n).
func combine(algorithm string, a, b uint64, n int64) uint64 {
	f := field{poly: uint64(poly32), top: 1 << 31}
	switch algorithm {
	case CRC32C:
		f.poly = uint64(poly32c)
	case CRC64NVME:
		f = field{poly: poly64nv, top: 1 << 63}
	}
	return f.mul(f.xpow(uint64(n)*8), a) ^ b
}

// field is GF(2)[x] modulo a reflected polynomial: the top bit is x^0.
type field struct{ poly, top uint64 }

func (f field) mul(a, b uint64) uint64 {
	var out uint64
	for bit := f.top; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			out ^= b
		}
		low := b & 1
		b >>= 1
		if low != 0 {
			b ^= f.poly
		}
	}
	return out
}

func (f field) xpow(n uint64) uint64 {
	out, sq := f.top, f.top>>1
	for ; n != 0; n >>= 1 {
		if n&1 != 0 {
			out = f.mul(out, sq)
		}
		sq = f.mul(sq, sq)
	}
	return out
}
