package emulators

// release is an emulator as Google publishes it for firebase-tools.
//
// Size and checksum are those in firebase-tools' src/emulator/downloadableEmulatorInfo.json. The versions are the published
// ones just before those of the Google Cloud CLI 528 (1.19.9 and 0.8.20), which this project is tested with. Newer ones ask
// for more Java: firebase-tools went to 21 in the release that took Firestore 1.20.
type release struct {
	file   string // its name under the base URL
	size   int64  // bytes
	sha256 string // hexadecimal
	jar    string // where the jar is in the file, if that is a zip archive; "" if the file is the jar
}

// publishedAt is the directory of all releases.
const publishedAt = "https://storage.googleapis.com/firebase-preview-drop/emulator"

var firestoreRelease = release{
	file:   "cloud-firestore-emulator-v1.19.8.jar",
	size:   63_634_791,
	sha256: "9d43599ed6151199e8d604dc87fac51218e49e5f3a48519b1ae560bbe5e3382d",
}

var pubsubRelease = release{
	file:   "pubsub-emulator-0.8.17.zip",
	size:   65_162_324,
	sha256: "72a49d14ee6cd4c1a0fee4a46f520fe4d7465396a155c61abc0103905047edd3",
	jar:    "pubsub-emulator/lib/cloud-pubsub-emulator-0.8.17-all.jar",
}
