package checksum_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"clary/internal/aws/checksum"
)

func sum(algorithm string, data []byte) string {
	h := checksum.New(algorithm)
	h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		checksum.CRC32:     "cbf43926",
		checksum.CRC32C:    "e3069283",
		checksum.CRC64NVME: "ae8b14860a799888",
		checksum.SHA1:      "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
		checksum.SHA256:    "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
		checksum.SHA512:    "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
		checksum.MD5:       "25f9e794323b453885f5181f1b624d0b",
	}
	if len(answers) != len(checksum.All()) {
		t.Errorf("%d answers for %v", len(answers), checksum.All())
	}
	for _, algorithm := range checksum.All() {
		raw, err := hex.DecodeString(answers[algorithm])
		if err != nil {
			t.Fatal(err)
		}
		if got := sum(algorithm, []byte("123456789")); got != base64.StdEncoding.EncodeToString(raw) || checksum.Size(algorithm) != len(raw) {
			t.Errorf("%s: got %s of %d bytes, want %x", algorithm, got, checksum.Size(algorithm), raw)
		}
	}
}

func TestFullObjectIsSumOfTheWhole(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, algorithm := range []string{checksum.CRC32, checksum.CRC32C, checksum.CRC64NVME} {
		for range 200 {
			var whole []byte
			var parts []checksum.Piece
			for range 1 + rnd.IntN(6) {
				part := make([]byte, rnd.IntN(3000))
				for i := range part {
					part[i] = byte(rnd.Uint32())
				}
				whole = append(whole, part...)
				parts = append(parts, checksum.Piece{Sum: sum(algorithm, part), Size: int64(len(part))})
			}
			got, err := checksum.OfParts(algorithm, checksum.FullObject, parts)
			if err != nil {
				t.Fatal(err)
			}
			if want := sum(algorithm, whole); got != want {
				t.Fatalf("%s of %d parts: got %s, want %s", algorithm, len(parts), got, want)
			}
		}
	}
}

func TestComposite(t *testing.T) {
	t.Parallel()
	a, b := bytes.Repeat([]byte("a"), 100), []byte("tail")
	for _, algorithm := range []string{checksum.CRC32, checksum.CRC32C, checksum.SHA1, checksum.SHA256, checksum.SHA512, checksum.MD5} {
		var cat []byte
		var parts []checksum.Piece
		for _, p := range [][]byte{a, b} {
			raw, err := base64.StdEncoding.DecodeString(sum(algorithm, p))
			if err != nil {
				t.Fatal(err)
			}
			cat = append(cat, raw...)
			parts = append(parts, checksum.Piece{Sum: sum(algorithm, p), Size: int64(len(p))})
		}
		got, err := checksum.OfParts(algorithm, checksum.Composite, parts)
		if err != nil {
			t.Fatal(err)
		}
		if want := sum(algorithm, cat) + "-2"; got != want {
			t.Errorf("%s: got %s, want %s", algorithm, got, want)
		}
	}
}

func TestWaysThatS3Refuses(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{checksum.SHA256, checksum.FullObject},
		{checksum.SHA1, checksum.FullObject},
		{checksum.SHA512, checksum.FullObject},
		{checksum.MD5, checksum.FullObject},
		{checksum.CRC64NVME, checksum.Composite},
		{"XXHASH3", checksum.Composite},
		{checksum.CRC32, ""},
	} {
		if _, err := checksum.OfParts(c[0], c[1], nil); err == nil {
			t.Errorf("%s %s was accepted", c[0], c[1])
		}
	}
	for _, bad := range []string{"", "x", strings.Repeat("A", 12), "AAAA"} {
		if checksum.Valid(checksum.CRC32, bad) {
			t.Errorf("%q passes as CRC32", bad)
		}
	}
	if !checksum.Valid(checksum.CRC32, "y/Q5Jg==") {
		t.Error("a CRC32 does not pass")
	}
}
