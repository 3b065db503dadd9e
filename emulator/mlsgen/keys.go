package mlsgen

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/sha256" // makes crypto.SHA256 available
	_ "crypto/sha512" // and crypto.SHA384, crypto.SHA512
	"io"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

// algorithms are those of a ciphersuite. Keys are read from the source of randomness byte by byte, because the GenerateKey
// functions of the standard library ignore the source that they are given.
type algorithms struct {
	newPublicKey func(io.Reader) ([]byte, error)
	newSigner    func(io.Reader) (*signer, error)
}

type signer struct {
	public []byte
	sign   func(content []byte) (signature []byte, err error)
}

var suites = map[mls.Ciphersuite]algorithms{
	mls.X25519AES128Ed25519:   {kem(ecdh.X25519(), 32), newEd25519},
	mls.P256AES128:            {kem(ecdh.P256(), 32), newECDSA(elliptic.P256(), crypto.SHA256)},
	mls.X25519ChaCha20Ed25519: {kem(ecdh.X25519(), 32), newEd25519},
	mls.P521AES256:            {kem(ecdh.P521(), 66), newECDSA(elliptic.P521(), crypto.SHA512)},
	mls.P384AES256:            {kem(ecdh.P384(), 48), newECDSA(elliptic.P384(), crypto.SHA384)},
}

func kem(curve ecdh.Curve, size int) func(io.Reader) ([]byte, error) {
	return func(random io.Reader) ([]byte, error) {
		key, err := fromScalar(random, size, curve.NewPrivateKey)
		if err != nil {
			return nil, err
		}
		return key.PublicKey().Bytes(), nil
	}
}

func newEd25519(random io.Reader) (*signer, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	return &signer{
		public: private.Public().(ed25519.PublicKey),
		sign:   func(content []byte) ([]byte, error) { return ed25519.Sign(private, content), nil },
	}, nil
}

// newECDSA signs deterministically, RFC 6979.
func newECDSA(curve elliptic.Curve, hash crypto.Hash) func(io.Reader) (*signer, error) {
	parse := func(scalar []byte) (*ecdsa.PrivateKey, error) { return ecdsa.ParseRawPrivateKey(curve, scalar) }
	return func(random io.Reader) (*signer, error) {
		private, err := fromScalar(random, (curve.Params().BitSize+7)/8, parse)
		if err != nil {
			return nil, err
		}
		public, err := private.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		sign := func(content []byte) ([]byte, error) {
			h := hash.New()
			h.Write(content)
			return private.Sign(nil, h.Sum(nil), hash)
		}
		return &signer{public, sign}, nil
	}
}

// fromScalar draws until parse finds the number below the order of its curve. P-521 is the only curve here whose order does
// not fill its bytes; the excess bits are cleared.
func fromScalar[K any](random io.Reader, size int, parse func([]byte) (K, error)) (K, error) {
	const sizeP521 = 66
	for {
		var none K
		scalar := make([]byte, size)
		if _, err := io.ReadFull(random, scalar); err != nil {
			return none, err
		}
		if size == sizeP521 {
			scalar[0] &= 1
		}
		if key, err := parse(scalar); err == nil {
			return key, nil
		}
	}
}
