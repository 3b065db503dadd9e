package emulators

import "runtime"

// release is a file as its publisher provides it.
type release struct {
	at     string // URL of the directory that has it
	file   string // its name there, and in a mirror
	sha256 string // hexadecimal
	inside string // pattern of what is wanted of a .zip or .tar.gz; "" if the file itself is wanted
}

// publishedAt is the directory of the emulators' releases for firebase-tools.
const publishedAt = "https://storage.googleapis.com/firebase-preview-drop/emulator"

// The checksums are those in firebase-tools' src/emulator/downloadableEmulatorInfo.json, 129 MB in all. The versions are
// the published ones just before those of the Google Cloud CLI 528 (1.19.9 and 0.8.20), which this project is tested with.
// Newer ones ask for more Java: firebase-tools went to 21 in the release that took Firestore 1.20.
var (
	firestoreRelease = release{
		publishedAt, "cloud-firestore-emulator-v1.19.8.jar",
		"9d43599ed6151199e8d604dc87fac51218e49e5f3a48519b1ae560bbe5e3382d", "",
	}
	pubsubRelease = release{
		publishedAt, "pubsub-emulator-0.8.17.zip",
		"72a49d14ee6cd4c1a0fee4a46f520fe4d7465396a155c61abc0103905047edd3",
		"pubsub-emulator/lib/cloud-pubsub-emulator-0.8.17-all.jar",
	}
)

// javaReleases has a Java runtime, Eclipse Temurin 17.0.14+7, some 45 MB, for each platform as Go names it.
var javaReleases = map[string]release{
	"linux/amd64":  javaRelease("x64_linux", "a4b0015872758aac6a5d17139e952a3951ee536ae6d9a99828823a80a71add56", "*/bin/java"),
	"linux/arm64":  javaRelease("aarch64_linux", "bab3f352fc7144ac1435924f056872d16f4b32c8bcda58b9a77b636eb1c664f4", "*/bin/java"),
	"darwin/arm64": javaRelease("aarch64_mac", "9fb89125d5807f42cec588824fde487be42273a89c55ccfc5f44efda64e03e2c", "*/*/Home/bin/java"),
	"darwin/amd64": javaRelease("x64_mac", "f2c7454f7aba076cd414887b31da92e4a50fda7a13d97f6e295c911af60de0b6", "*/*/Home/bin/java"),
}

func javaRelease(machine, sha256, inside string) release {
	const at = "https://github.com/adoptium/temurin17-binaries/releases/download/jdk-17.0.14%2B7"
	return release{at, "OpenJDK17U-jre_" + machine + "_hotspot_17.0.14_7.tar.gz", sha256, inside}
}

// platform is the key of this machine in javaReleases.
const platform = runtime.GOOS + "/" + runtime.GOARCH
