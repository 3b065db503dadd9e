package mls_test

import (
	"testing"

	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func TestParseCiphersuite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want mls.Ciphersuite
		ok   bool
	}{
		{"0x0001", 1, true},
		{"0X0001", 1, true},
		{"0x1", 1, true},
		{"1", 1, true},
		{"0007", 7, true},
		{" 0x0002 ", 2, true},
		{"0x004d", 0x4d, true},
		{"0xFFFF", 0xffff, true},
		{"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", 1, true},
		{"mls_128_dhkemp256_aes128gcm_sha256_p256", 2, true},
		{"MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_ED25519", 3, true},
		{"MLS_128_DHKEMX25519", 1, true}, // and not 3
		{"MLS_128_DHKEMX25519_CHACHA20POLY1305", 3, true},
		{"MLS_128_DHKEMP256", 2, true},
		{"MLS_256_DHKEMX448", 4, true}, // and not 6
		{"MLS_256_DHKEMP521", 5, true},
		{"MLS_256_DHKEMP384_AES256GCM_SHA384", 7, true},
		{"MLS_128", 0, false},
		{"MLS_128_DHKEMX255", 0, false},
		{"MLS_128_DHKEMX25519_", 0, false},
		{"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519_X", 0, false},
		{"MLS_", 0, false},
		{"", 0, false},
		{"0x", 0, false},
		{"0x10000", 0, false},
		{"65536", 0, false},
		{"-1", 0, false},
		{"1_0", 0, false},
		{"X25519", 0, false},
	} {
		got, ok := mls.ParseCiphersuite(c.in)
		if ok != c.ok || got != c.want {
			t.Errorf("ParseCiphersuite(%q) = %v, %v; want %v, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func TestCiphersuiteNamesParse(t *testing.T) {
	t.Parallel()
	for c := mls.Ciphersuite(0); c < 20; c++ {
		if got, ok := mls.ParseCiphersuite(c.String()); !ok || got != c {
			t.Errorf("suite %d: %q parses as %v, %v", uint16(c), c.String(), got, ok)
		}
	}
}
