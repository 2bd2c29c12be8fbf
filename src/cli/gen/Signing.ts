/**
 * Signs loader programs, and checks their signatures.
 *
 * A signature is of the loader's instructions and its data, or of the instructions alone (`LoaderSignature`). Keys are RSA or EC
 * in PEM, certificates X.509 in PEM or DER. Whether a certificate is to be trusted is the kernel's matter, which looks for it in
 * a keyring; here it only says which key is meant.
 */
import type * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Insn from "../../insn/Insn.ts"
import { attempt } from "../../internal/attempt.ts"
import { sha256 } from "../../internal/Sha256.ts"
import * as LoaderCode from "../../stages/gen/assemble/LoaderCode.ts"
import type { LoaderProgram } from "../../stages/gen/LoaderProgram.ts"
import * as LoaderSignature from "../../stages/gen/LoaderSignature.ts"
import * as Cms from "./Cms.ts"
import { isSigningError, SigningError } from "./SigningError.ts"

export { SigningError } from "./SigningError.ts"

/** What a loader is signed with. */
export interface Signer {
  /** A private key in PEM. */
  readonly key: Uint8Array
  /** What the key is encrypted with, where it is. */
  readonly passphrase?: string
  /** The certificate of the key, PEM or DER. */
  readonly certificate: Uint8Array
}

/** A certificate, as far as signatures need it. */
interface Identity {
  readonly certificate: Crypto.X509Certificate
  readonly keyIdentifier: Uint8Array
  readonly kind: Cms.KeyKind
}

/** Files that hold keys and certificates are smaller than this, bytes. */
const mostBytes = 1 << 20

const kindOf = (key: Crypto.KeyObject): Cms.KeyKind | undefined =>
  key.asymmetricKeyType === "rsa" ? "rsa" : key.asymmetricKeyType === "ec" ? "ec" : undefined

const because = (thrown: unknown): string => thrown instanceof Error ? thrown.message : String(thrown)

const identityOf = (bytes: Uint8Array): Identity => {
  const wrong = (detail: string): SigningError => new SigningError({ reason: "Certificate", detail })
  if (bytes.length > mostBytes) throw wrong(`the certificate has ${bytes.length} bytes`)
  let certificate: Crypto.X509Certificate
  try {
    certificate = new Crypto.X509Certificate(bytes)
  } catch (thrown) {
    throw wrong(`the certificate is neither PEM nor DER: ${because(thrown)}`)
  }
  const kind = kindOf(certificate.publicKey)
  if (kind === undefined) {
    throw wrong(
      `the certificate is for a key of type ${certificate.publicKey.asymmetricKeyType ?? "unknown"}, not RSA or EC`
    )
  }
  return { certificate, keyIdentifier: Cms.keyIdentifier(certificate.raw), kind }
}

const privateKey = ({ key, passphrase }: Signer): Crypto.KeyObject => {
  const wrong = (reason: "Key" | "Passphrase", detail: string, hint?: string): SigningError =>
    new SigningError({ reason, detail, ...(hint === undefined ? {} : { hint }) })
  if (key.length > mostBytes) throw wrong("Key", `the private key has ${key.length} bytes`)
  const text = new TextDecoder().decode(key)
  if (!text.includes("-----BEGIN ")) throw wrong("Key", "the private key is not in PEM")
  const isEncrypted = text.includes("-----BEGIN ENCRYPTED PRIVATE KEY-----") || /^Proc-Type: 4,ENCRYPTED/m.test(text)
  if (isEncrypted && passphrase === undefined) {
    throw wrong("Passphrase", "the private key is encrypted, and there is no passphrase")
  }
  try {
    return Crypto.createPrivateKey({ key: text, format: "pem", ...(passphrase === undefined ? {} : { passphrase }) })
  } catch (thrown) {
    throw isEncrypted
      ? wrong("Passphrase", "the private key cannot be decrypted with this passphrase")
      : wrong("Key", `the private key cannot be read: ${because(thrown)}`)
  }
}

const signLoader = (loader: LoaderProgram, signer: Signer): LoaderProgram => {
  if (loader.signed === undefined) {
    throw new SigningError({
      reason: "NotForSigning",
      detail: "the loader takes changes and inputs, which no signature is of",
      hint: "record it to be signed (signed: true)"
    })
  }
  const identity = identityOf(signer.certificate)
  const key = privateKey(signer)
  if (kindOf(key) === undefined) {
    throw new SigningError({
      reason: "Key",
      detail: `the private key is of type ${key.asymmetricKeyType ?? "unknown"}, not RSA or EC`
    })
  }
  if (!identity.certificate.checkPrivateKey(key)) {
    throw new SigningError({ reason: "Mismatch", detail: "the certificate is not of this private key" })
  }
  const value = Crypto.sign("sha256", LoaderSignature.signedBytes(loader, loader.signed.covers), key)
  const signature = Cms.encode({ keyIdentifier: identity.keyIdentifier, kind: identity.kind, value })
  if (signature.length > LoaderSignature.MAX_SIGNATURE) {
    throw new SigningError({
      reason: "TooLarge",
      detail: `the signature has ${signature.length} bytes, and ${LoaderSignature.MAX_SIGNATURE} are the most`,
      hint: "sign with a shorter key"
    })
  }
  return { ...loader, signed: { ...loader.signed, signature } }
}

/** The loader with a signature, in the place of one that it had. It must have been recorded to be signed. */
export const sign = (loader: LoaderProgram, signer: Signer): Result.Result<LoaderProgram, SigningError> =>
  attempt(isSigningError, () => signLoader(loader, signer))

/** What a valid signature says. */
export interface Verified {
  /** The subject of the certificate, a line for each part. */
  readonly subject: string
  readonly keyIdentifier: Uint8Array
  readonly covers: NonNullable<LoaderProgram["signed"]>["covers"]
  /** By which the kernel lets the loader, and no other program, use the loader's map. */
  readonly exclusiveHash: Uint8Array
}

/**
 * Whether the instructions answer for the data: the digest that they compare is that of these bytes. A signature of the
 * instructions alone says nothing of the data, and the kernel refuses changed data only when the loader runs.
 */
const answersForData = ({ byteOrder, data, insns }: LoaderProgram): boolean => {
  const compared = LoaderCode.comparedDigest(Insn.fromByteOrder(insns, byteOrder), byteOrder === "little")
  return compared !== undefined && Buffer.from(sha256(data)).equals(compared)
}

const verifyLoader = (loader: LoaderProgram, bytes: Uint8Array): Verified => {
  const { signed } = loader
  if (signed?.signature === undefined) {
    throw new SigningError({ reason: "Unsigned", detail: "the loader has no signature" })
  }
  if (signed.signature.length > LoaderSignature.MAX_SIGNATURE) {
    throw new SigningError({ reason: "TooLarge", detail: `the signature has ${signed.signature.length} bytes` })
  }
  const { certificate, keyIdentifier, kind } = identityOf(bytes)
  const signature = Cms.decode(signed.signature)
  const hex = (identifier: Uint8Array): string => Buffer.from(identifier).toString("hex")
  if (hex(signature.keyIdentifier) !== hex(keyIdentifier)) {
    throw new SigningError({
      reason: "Signer",
      detail: `the loader is signed by the key ${hex(signature.keyIdentifier)}, the certificate is of ${
        hex(keyIdentifier)
      }`
    })
  }
  const content = LoaderSignature.signedBytes(loader, signed.covers)
  const isValid = signature.kind === kind && Crypto.verify("sha256", content, certificate.publicKey, signature.value)
  if (!isValid) {
    throw new SigningError({
      reason: "Invalid",
      detail: "the signature is not one of this loader: it, or the loader, was changed"
    })
  }
  if (signed.covers === "insns" && !answersForData(loader)) {
    throw new SigningError({
      reason: "Invalid",
      detail: "the signature is of the instructions, and they do not take this data: it was changed"
    })
  }
  return {
    subject: certificate.subject,
    keyIdentifier,
    covers: signed.covers,
    exclusiveHash: LoaderSignature.exclusiveHash(loader)
  }
}

/** Checks the signature of a loader against a certificate, PEM or DER. */
export const verify = (loader: LoaderProgram, certificate: Uint8Array): Result.Result<Verified, SigningError> =>
  attempt(isSigningError, () => verifyLoader(loader, certificate))
