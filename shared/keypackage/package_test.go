package keypackage_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/nbd-wtf/go-nostr"

	"github.com/keypackage-delivery/keypackage-delivery/emulator/mlsgen"
	"github.com/keypackage-delivery/keypackage-delivery/shared/keypackage"
	"github.com/keypackage-delivery/keypackage-delivery/shared/mls"
)

func inspect(id string, doc keypackage.Document) keypackage.Package {
	return keypackage.Inspect(id, doc, keypackage.PolicyStrict)
}

func TestInspectSignedPackage(t *testing.T) {
	t.Parallel()
	made := keyPackage(t, 1, func(o *mlsgen.Options) { o.Ciphersuite, o.LastResort = mls.P256AES128, true })
	event := bob.sign(t, keypackage.KindKeyPackage, inHex(made))
	id, doc := published(event)
	got := inspect(id, doc)
	if got.Flaw != "" || got.ID != id || got.Owner != bob.pubkey || got.Event != encode(event) || got.Kind != 443 {
		t.Errorf("got %+v", got)
	}
	if got.Suite != mls.P256AES128 || !got.LastResort || got.Addressable {
		t.Errorf("suite %v, last resort %v: the bytes decide, not the tag %q", got.Suite, got.LastResort, doc["ciphersuite"])
	}
	if end := now.Add(-time.Hour + mls.MaxLifetime); !got.NotAfter.Equal(end) || !got.ExpiresAt.Equal(end) {
		t.Errorf("ends %v, expires %v, want %v", got.NotAfter, got.ExpiresAt, end)
	}
	if got.Hash != mls.ContentHash(bob.pubkey, event.Content) || got.CreatedAt != now.Unix() {
		t.Errorf("hash %s, created %d", got.Hash, got.CreatedAt)
	}
}

// One package has one identity, however it is written, framed and wrapped; another owner's is another.
func TestHashAcrossSpellings(t *testing.T) {
	t.Parallel()
	made := keyPackage(t, 1, nil)
	hash := func(id string, doc keypackage.Document) string { return inspect(id, doc).Hash }
	want := hash(unsigned(inHex(made)))
	for name, got := range map[string]string{
		"base64":        hash(unsigned(base64.StdEncoding.EncodeToString(made))),
		"base64 framed": hash(unsigned(base64.StdEncoding.EncodeToString(mlsgen.Frame(made)))),
		"hex framed":    hash(unsigned(inHex(mlsgen.Frame(made)))),
		"hex, upper":    hash(unsigned(strings.ToUpper(inHex(made)))),
		"signed 443":    hash(published(bob.sign(t, 443, inHex(made)))),
		"signed 30443":  hash(published(bob.sign(t, 30443, base64.StdEncoding.EncodeToString(made), nostr.Tag{"d", "0"}))),
	} {
		if got != want {
			t.Errorf("%s: another identity", name)
		}
	}
	if hash(published(carol.sign(t, 443, inHex(made)))) == want {
		t.Error("a stranger who publishes Bob's bytes shares his identity")
	}
	_, doc := published(bob.sign(t, 443, inHex(made)))
	doc["content"] = inHex(keyPackage(t, 2, nil))
	if hash(doc.Text("event_id"), doc) != want {
		t.Error("the field content counts although the signed event is there")
	}
}

func TestFlaws(t *testing.T) {
	t.Parallel()
	good := inHex(keyPackage(t, 1, nil))
	edited := func(edit func(*mls.KeyPackage)) string {
		return inHex(keyPackage(t, 1, func(o *mlsgen.Options) { o.Edit = edit }))
	}
	signedGood := bob.sign(t, 443, good)
	ref := func(content string) string {
		bytes, err := hex.DecodeString(content)
		if err != nil {
			t.Fatal(err)
		}
		kp, err := mls.Parse(bytes)
		if err != nil {
			t.Fatal(err)
		}
		return inHex(kp.Ref())
	}
	for name, tt := range map[string]struct {
		event *nostr.Event
		edit  func(keypackage.Document)
		want  string
	}{
		"good":                     {signedGood, nil, ""},
		"with its reference":       {bob.sign(t, 443, good, nostr.Tag{"i", ref(good)}), nil, ""},
		"with another's reference": {bob.sign(t, 443, good, nostr.Tag{"i", strings.Repeat("0", 64)}), nil, keypackage.FlawReference},
		"addressable":              {bob.sign(t, 30443, good, nostr.Tag{"d", "slot"}), nil, ""},
		"another kind":             {bob.sign(t, 444, good), nil, keypackage.FlawMismatch},
		"of somebody else":         {carol.sign(t, 443, good), nil, string(mls.ErrIdentity)},
		"not an event":             {signedGood, func(d keypackage.Document) { d["event"] = "{" }, keypackage.FlawEvent},
		"changed content": {signedGood, func(d keypackage.Document) {
			d["event"] = strings.Replace(d.Text("event"), `"content":"`, `"content":"00`, 1)
		}, keypackage.FlawEvent},
		"under another owner":      {signedGood, func(d keypackage.Document) { d["owner_pubkey"] = carol.pubkey }, keypackage.FlawMismatch},
		"no owner":                 {signedGood, func(d keypackage.Document) { delete(d, "owner_pubkey") }, keypackage.FlawMismatch},
		"no creation time":         {signedGood, func(d keypackage.Document) { delete(d, "created_at") }, keypackage.FlawMalformed},
		"creation time as text":    {signedGood, func(d keypackage.Document) { d["created_at"] = "1795435200" }, keypackage.FlawMalformed},
		"creation beyond time":     {signedGood, func(d keypackage.Document) { d["created_at"] = int64(1 << 62) }, keypackage.FlawMalformed},
		"empty":                    {bob.sign(t, 443, ""), nil, keypackage.FlawMalformed},
		"opaque":                   {bob.sign(t, 443, "a package of 2024"), nil, keypackage.FlawUnparsable},
		"truncated":                {bob.sign(t, 443, good[:len(good)-2]), nil, keypackage.FlawUnparsable},
		"followed by a byte":       {bob.sign(t, 443, good+"00"), nil, keypackage.FlawUnparsable},
		"lifetime too long":        {bob.sign(t, 443, edited(func(kp *mls.KeyPackage) { kp.LeafNode.Lifetime.NotAfter++ })), nil, string(mls.ErrLifetimeLength)},
		"changed after signing":    {bob.sign(t, 443, good[:len(good)-2]+"00"), nil, string(mls.ErrSignature)},
		"keys used twice":          {bob.sign(t, 443, edited(func(kp *mls.KeyPackage) { kp.InitKey = kp.LeafNode.EncryptionKey })), nil, string(mls.ErrInitKeyReused)},
		"two flaws, the first one": {bob.sign(t, 444, "x"), func(d keypackage.Document) { delete(d, "created_at") }, keypackage.FlawMismatch},
	} {
		id, doc := published(tt.event)
		if tt.edit != nil {
			tt.edit(doc)
		}
		if got := inspect(id, doc); got.Flaw != tt.want {
			t.Errorf("%s: flaw %q, want %q", name, got.Flaw, tt.want)
		}
	}
	_, doc := published(signedGood)
	if got := inspect(strings.Repeat("0", 64), doc); got.Flaw != keypackage.FlawMismatch {
		t.Errorf("stored under another id: flaw %q", got.Flaw)
	}
}

// Without the signed event a package is served by its id, as today's relays store it.
func TestInspectUnsignedPackage(t *testing.T) {
	t.Parallel()
	id, doc := unsigned(base64.StdEncoding.EncodeToString(keyPackage(t, 1, nil)))
	got := inspect(id, doc)
	if got.Flaw != "" || got.Event != "" || got.Kind != 443 || got.Suite != 1 {
		t.Errorf("got %+v", got)
	}
}

// A policy for clients that publish opaque content: it is served by its tag, but what was checked and found wrong is not.
func TestWarnPolicy(t *testing.T) {
	t.Parallel()
	unknownSuite := func(edit func(*mls.KeyPackage)) []byte {
		return keyPackage(t, 1, func(o *mlsgen.Options) {
			o.Edit = func(kp *mls.KeyPackage) {
				kp.Ciphersuite = 0x0054 // X-Wing, a draft
				kp.LeafNode.Capabilities.Ciphersuites = append(kp.LeafNode.Capabilities.Ciphersuites, 0x0054)
				edit(kp)
			}
		})
	}
	xWing := inHex(unknownSuite(func(*mls.KeyPackage) {}))
	for name, tt := range map[string]struct {
		content, suiteTag string
		strict, warn      string
	}{
		"opaque":              {"a package of 2024", "0x0001", keypackage.FlawUnparsable, ""},
		"opaque, no suite":    {"a package of 2024", "", keypackage.FlawUnparsable, keypackage.FlawUnparsable},
		"opaque, wrong suite": {"a package of 2024", "nonsense", keypackage.FlawUnparsable, keypackage.FlawUnparsable},
		"another's identity": {
			inHex(keyPackage(t, 1, func(o *mlsgen.Options) { o.Owner = carol.pubkey })), "",
			string(mls.ErrIdentity), string(mls.ErrIdentity),
		},
		"empty":          {"", "0x0001", keypackage.FlawMalformed, keypackage.FlawMalformed},
		"unknown suite":  {xWing, "0x0054", string(mls.ErrCiphersuite), ""},
		"and broken":     {xWing[:len(xWing)-2], "0x0054", keypackage.FlawUnparsable, keypackage.FlawUnparsable},
		"framed, broken": {"00010005" + xWing[:len(xWing)-2], "0x0054", keypackage.FlawUnparsable, keypackage.FlawUnparsable},
		"and keys used twice": {
			inHex(unknownSuite(func(kp *mls.KeyPackage) { kp.InitKey = kp.LeafNode.EncryptionKey })), "",
			string(mls.ErrInitKeyReused), string(mls.ErrInitKeyReused),
		},
		"not even encoded": {"hello", "0x0053", keypackage.FlawUnparsable, keypackage.FlawUnparsable},
	} {
		id, doc := unsigned(tt.content)
		doc["ciphersuite"] = tt.suiteTag
		for policy, want := range map[keypackage.Policy]string{keypackage.PolicyStrict: tt.strict, keypackage.PolicyWarn: tt.warn} {
			if got := keypackage.Inspect(id, doc, policy); got.Flaw != want {
				t.Errorf("%s, %s: flaw %q, want %q", name, policy, got.Flaw, want)
			}
		}
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	parsed := inHex(keyPackage(t, 1, nil))
	lifetimeEnd := now.Add(-time.Hour + mls.MaxLifetime)
	soon := now.Add(time.Hour)
	for name, tt := range map[string]struct {
		content string
		field   any
		want    time.Time
	}{
		"seconds":              {parsed, soon.Unix(), soon},
		"timestamp":            {parsed, soon, soon},
		"missing":              {parsed, nil, lifetimeEnd},
		"later than the bytes": {parsed, lifetimeEnd.Add(time.Hour).Unix(), lifetimeEnd},
		"unreadable":           {parsed, "soon", lifetimeEnd},
		"beyond time":          {parsed, int64(1 << 62), lifetimeEnd},
		"zero":                 {parsed, int64(0), lifetimeEnd},
		"negative":             {parsed, int64(-62135596800), lifetimeEnd},
		"a fraction":           {parsed, 0.5, lifetimeEnd},
		"a double":             {parsed, float64(soon.Unix()), lifetimeEnd},
		"timestamp, negative":  {parsed, time.Unix(-1, 0), lifetimeEnd},
		"nothing known":        {"opaque", nil, now.Add(-time.Minute + 84*24*time.Hour)},
		"opaque, with a field": {"opaque", soon.Unix(), soon},
	} {
		id, doc := unsigned(tt.content)
		if doc["expires_at"] = tt.field; tt.field == nil {
			delete(doc, "expires_at")
		}
		if got := inspect(id, doc); !got.ExpiresAt.Equal(tt.want) {
			t.Errorf("%s: expires %v, want %v", name, got.ExpiresAt, tt.want)
		}
	}
}

// A date that is no integer is a date, and used last; what is no date makes a document unusable.
func TestCreationTime(t *testing.T) {
	t.Parallel()
	parsed := inHex(keyPackage(t, 1, nil))
	read := func(created any) *keypackage.Candidate {
		id, doc := unsigned(parsed)
		doc["created_at"] = created
		return &keypackage.Candidate{Package: inspect(id, doc)}
	}
	newest := read(now.Unix())
	for _, created := range []any{now.Add(-time.Hour), float64(now.Unix()) - 0.5, time.Unix(0, 0)} {
		if c := read(created); c.Flaw != "" || !c.Misdated || keypackage.CompareAge(newest, c) >= 0 || keypackage.CompareAge(c, newest) <= 0 {
			t.Errorf("%v: flaw %q, older than an integer", created, c.Flaw)
		}
	}
	for _, created := range []any{"1795435200", int64(-1), float64(-1), time.Unix(-1, 0), true} {
		if c := read(created); c.Flaw != keypackage.FlawMalformed {
			t.Errorf("%v: flaw %q", created, c.Flaw)
		}
	}
}

// The whole document counts, whatever its fields are called: a delivery carries a copy of it.
func TestDocumentSize(t *testing.T) {
	t.Parallel()
	id, doc := unsigned(inHex(keyPackage(t, 1, nil)))
	doc["junk"] = []any{map[string]any{"deep": strings.Repeat("x", keypackage.MaxPackageBytes)}}
	if got := inspect(id, doc); got.Flaw != keypackage.FlawTooLarge || got.ExpiresAt.IsZero() {
		t.Errorf("got %+v", got.Flaw)
	}
}

func TestValidAndRemovable(t *testing.T) {
	t.Parallel()
	id, doc := published(bob.sign(t, 443, inHex(keyPackage(t, 1, nil))))
	fresh := keypackage.Candidate{Package: inspect(id, doc)}
	id, doc = published(bob.sign(t, 443, inHex(keyPackage(t, 1, func(o *mlsgen.Options) { o.NotBefore = now.Add(time.Hour) }))))
	unborn := keypackage.Candidate{Package: inspect(id, doc)}
	with := func(edit func(*keypackage.Candidate)) keypackage.Candidate {
		c := fresh
		edit(&c)
		return c
	}
	for name, tt := range map[string]struct {
		candidate        keypackage.Candidate
		valid, removable bool
	}{
		"fresh":           {fresh, true, false},
		"shared":          {with(func(c *keypackage.Candidate) { c.Use = keypackage.UseReserve }), true, false},
		"used":            {with(func(c *keypackage.Candidate) { c.Use = keypackage.UseOneTime }), false, true},
		"tombstoned":      {with(func(c *keypackage.Candidate) { c.Tombstoned = true }), false, true},
		"its end":         {with(func(c *keypackage.Candidate) { c.ExpiresAt = now }), false, true},
		"a second left":   {with(func(c *keypackage.Candidate) { c.ExpiresAt = now.Add(time.Second) }), true, false},
		"flawed":          {with(func(c *keypackage.Candidate) { c.Flaw = "x" }), false, false},
		"not begun":       {unborn, false, false},
		"flawed and over": {with(func(c *keypackage.Candidate) { c.Flaw, c.ExpiresAt = "x", now }), false, true},
	} {
		if got := tt.candidate.Valid(now); got != tt.valid {
			t.Errorf("%s: valid %v", name, got)
		}
		if got := tt.candidate.Removable(now); got != tt.removable {
			t.Errorf("%s: removable %v", name, got)
		}
	}
}
