// Makes ts-mls.json: KeyPackages of another implementation, good ones and ones that are bad in a known way, with the verdict
// that each must get. All keys are thrown away and serve tests only. To run it again, in an empty directory:
//
//   npm i ts-mls@1.6.4 @noble/curves@2.0.1 @noble/ciphers@2.1.1 @hpke/chacha20poly1305@1.8.0 @hpke/dhkem-x448@1.8.0
//   cp .../generate.mjs . && node generate.mjs > ts-mls.json
import { randomBytes } from "node:crypto";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import { encodeMlsMessage, getCiphersuiteFromName, getCiphersuiteImpl } from "ts-mls";
import { ciphersuites } from "ts-mls/crypto/ciphersuite.js";
import { encodeKeyPackage, makeKeyPackageRef, signKeyPackage } from "ts-mls/keyPackage.js";
import { signLeafNodeKeyPackage } from "ts-mls/leafNode.js";

const now = 1_795_000_000; // the clock of the tests
const maxLifetime = 7_261_200;
const owner = "10e0852dc6a753a1103fb7b2a5beceb32ea27f88904f561a3827048dbd69617e";
const ownerBytes = Uint8Array.from(Buffer.from(owner, "hex"));
const nameOf = Object.fromEntries(Object.entries(ciphersuites).map(([name, id]) => [id, name]));
const nist = { 2: p256, 5: p521, 7: p384 };

// ts-mls writes compressed NIST signature keys; RFC 9420 section 5.1.1 wants them uncompressed.
async function signatureKeys(suite, impl, compressed) {
  const keys = await impl.signature.keygen();
  if (!nist[suite] || compressed) return keys;
  return { ...keys, publicKey: nist[suite].getPublicKey(keys.signKey, false) };
}

async function hpkeKey(impl) {
  return impl.hpke.exportPublicKey((await impl.hpke.generateKeyPair()).publicKey);
}

// make signs a leaf and a package. Its options change them before they are signed; options.leafKey and options.packageKey
// replace the signing key, and options.after changes the signed package.
async function make(options = {}) {
  const suite = options.suite ?? 1;
  const impl = await getCiphersuiteImpl(getCiphersuiteFromName(nameOf[suite]));
  const keys = await signatureKeys(suite, impl, options.compressed);
  const leaf = {
    leafNodeSource: "key_package",
    hpkePublicKey: await hpkeKey(impl),
    signaturePublicKey: keys.publicKey,
    credential: { credentialType: "basic", identity: ownerBytes },
    capabilities: {
      versions: ["mls10"],
      ciphersuites: [nameOf[suite]],
      extensions: [0x0006, 0x000a, 0xf2ee],
      proposals: [],
      credentials: ["basic"],
      ...options.capabilities,
    },
    lifetime: { notBefore: BigInt(now - 3600), notAfter: BigInt(now - 3600 + maxLifetime) },
    extensions: [],
    ...options.leaf,
  };
  const stranger = await signatureKeys(suite, impl, options.compressed);
  const tbs = {
    version: "mls10",
    cipherSuite: nameOf[suite],
    initKey: options.reuseKey ? leaf.hpkePublicKey : await hpkeKey(impl),
    leafNode: await signLeafNodeKeyPackage(leaf, (options.strangerSignsLeaf ? stranger : keys).signKey, impl.signature),
    extensions: options.extensions ?? [],
  };
  let kp = await signKeyPackage(tbs, (options.strangerSignsPackage ? stranger : keys).signKey, impl.signature);
  if (options.after) kp = options.after(kp);
  return { kp, suite, ref: await makeKeyPackageRef(kp, impl.hash) };
}

const writers = {
  base64: (kp) => Buffer.from(encodeKeyPackage(kp)).toString("base64"),
  hex: (kp) => Buffer.from(encodeKeyPackage(kp)).toString("hex"),
  "framed base64": (kp) => Buffer.from(framed(kp)).toString("base64"),
  "framed hex": (kp) => Buffer.from(framed(kp)).toString("hex"),
};
const framed = (kp) => encodeMlsMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage: kp });

const extension = (type, ...data) => ({ extensionType: type, extensionData: Uint8Array.from(data) });
const lifetime = (from, seconds) => ({ leaf: { lifetime: { notBefore: BigInt(from), notAfter: BigInt(from) + BigInt(seconds) } } });
const identity = (bytes) => ({ leaf: { credential: { credentialType: "basic", identity: bytes } } });

// name, way of writing, options, verdict ("" = good)
const cases = [
  ["suite 1", "base64", {}, ""],
  ["suite 1 in hex", "hex", {}, ""],
  ["suite 1 framed", "framed base64", {}, ""],
  ["suite 1 framed in hex", "framed hex", {}, ""],
  ["suite 2", "base64", { suite: 2 }, ""],
  ["suite 2 framed", "framed base64", { suite: 2 }, ""],
  ["suite 2, compressed signature key", "base64", { suite: 2, compressed: true }, "public_key"],
  ["suite 3", "base64", { suite: 3 }, ""],
  ["suite 4", "base64", { suite: 4 }, "signature_unverified"],
  ["suite 5 bare looks framed", "base64", { suite: 5 }, ""],
  ["suite 5 framed", "framed base64", { suite: 5 }, ""],
  ["suite 6", "base64", { suite: 6 }, "signature_unverified"],
  ["suite 7", "base64", { suite: 7 }, ""],
  ["last resort by extension", "base64", { extensions: [extension(0x000a)], lastResort: true }, ""],
  ["last resort by component", "framed base64", { extensions: [extension(0x0006, 3, 0, 4, 0)], lastResort: true }, ""],
  ["grease everywhere", "base64", {
    capabilities: { extensions: [0x0a0a, 0x1a1a], proposals: [0x2a2a], ciphersuites: [nameOf[1], "14906"] },
    extensions: [extension(0x0a0a, 1, 2, 3)],
    leaf: { extensions: [extension(0x1a1a)] },
  }, ""],
  ["default extension in the leaf, not listed", "base64", { leaf: { extensions: [extension(0x0001, 1, 65)] } }, ""],
  ["default extension types listed", "base64", { capabilities: { extensions: [0x0003, 0x0006] } }, ""],
  ["longest lifetime", "base64", lifetime(now - 3600, maxLifetime), ""],
  ["lifetime one second too long", "base64", lifetime(now - 3600, maxLifetime + 1), "lifetime_length"],
  ["lifetime without end", "base64", lifetime(0, 2n ** 64n - 1n), "lifetime_length"],
  ["lifetime backwards", "base64", { ...lifetime(now, -1), current: "lifetime_expired" }, "lifetime_length"],
  ["lifetime not begun", "base64", { ...lifetime(now + 1, 1000), current: "lifetime_not_begun" }, ""],
  ["lifetime ended", "base64", { ...lifetime(now - 1000, 1000), current: "lifetime_expired" }, ""],
  ["identity of somebody else", "base64", identity(Uint8Array.from(randomBytes(32))), "identity"],
  ["identity in hex text", "base64", identity(new TextEncoder().encode(owner)), "identity_hex"],
  ["identity empty", "base64", identity(new Uint8Array()), "identity"],
  ["X.509 credential", "base64", {
    leaf: { credential: { credentialType: "x509", certificates: [Uint8Array.of(1, 2, 3)] } },
  }, "credential_type"],
  ["init key is the encryption key", "base64", { reuseKey: true }, "init_key_reused"],
  ["last resort not listed", "base64", { capabilities: { extensions: [] }, extensions: [extension(0x000a)], lastResort: true }, "capabilities"],
  ["leaf extension not listed", "base64", { leaf: { extensions: [extension(0xf00d)] } }, "capabilities"],
  ["suite not listed", "base64", { capabilities: { ciphersuites: [nameOf[2]] } }, "capabilities"],
  ["credential type not listed", "base64", { capabilities: { credentials: ["x509"] } }, "capabilities"],
  ["leaf signed by a stranger", "base64", { strangerSignsLeaf: true }, "leaf_signature"],
  ["package signed by a stranger", "base64", { strangerSignsPackage: true }, "package_signature"],
  ["suite 2, package signed by a stranger", "base64", { suite: 2, strangerSignsPackage: true }, "package_signature"],
  ["suite changed after signing", "base64", {
    capabilities: { ciphersuites: [nameOf[1], nameOf[3]] },
    after: (kp) => ({ ...kp, cipherSuite: nameOf[3] }),
  }, "package_signature"],
  ["marked as last resort after signing", "base64", {
    after: (kp) => ({ ...kp, extensions: [extension(0x000a)] }),
    lastResort: true,
  }, "package_signature"],
  ["lifetime changed after signing", "base64", {
    after: (kp) => ({ ...kp, leafNode: { ...kp.leafNode, lifetime: { ...kp.leafNode.lifetime, notAfter: BigInt(now) + 1n } } }),
  }, "leaf_signature"],
  ["init keys of another suite", "base64", { suite: 1, after: (kp) => ({ ...kp, initKey: Uint8Array.from(randomBytes(65)) }) }, "public_key"],
];

const out = [];
for (const [name, way, options, verdict] of cases) {
  const { kp, suite, ref } = await make(options);
  out.push({
    name, content: writers[way](kp), verdict,
    ciphersuite: ciphersuites[kp.cipherSuite],
    ref: Buffer.from(ref).toString("hex"),
    last_resort: options.lastResort ?? false,
    current: options.current ?? "",
  });
}
const lines = out.map((entry) => JSON.stringify(entry)).join(",\n");
console.log(`{"owner":"${owner}","now":${now},"packages":[\n${lines}\n]}`);
