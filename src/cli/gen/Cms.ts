/**
 * Signatures of loaders as bytes: CMS `SignedData`, detached, of binary content, with neither certificates nor signed
 * attributes, whose one signer is named by the identifier of its key. The kernel takes this form (`PKCS#7`), and
 * `openssl cms -sign -binary -noattr -nocerts -keyid -md sha256 -outform DER` writes it.
 *
 * Source: RFC 5652; reference page `gen-loader`, section 11.
 */
import {
  CMSVersion,
  ContentInfo,
  DigestAlgorithmIdentifiers,
  EncapsulatedContentInfo,
  id_data,
  id_signedData,
  SignedData,
  SignerIdentifier,
  SignerInfo,
  SignerInfos
} from "@peculiar/asn1-cms"
import { AsnConvert, OctetString } from "@peculiar/asn1-schema"
import { AlgorithmIdentifier, Certificate, id_ce_subjectKeyIdentifier, SubjectKeyIdentifier } from "@peculiar/asn1-x509"
import { SigningError } from "./SigningError.ts"

const id_sha256 = "2.16.840.1.101.3.4.2.1"
const id_rsaEncryption = "1.2.840.113549.1.1.1"
const id_ecdsaWithSha256 = "1.2.840.10045.4.3.2"

/** `NULL`, the parameters of an RSA signature. */
const asnNull = Uint8Array.of(5, 0).buffer

/** The kinds of key that the kernel checks signatures of. */
export type KeyKind = "rsa" | "ec"

/** What a signature says. */
export interface Signature {
  /** The identifier of the signer's key. */
  readonly keyIdentifier: Uint8Array
  readonly kind: KeyKind
  /** PKCS#1 version 1.5, or a DER pair of numbers. */
  readonly value: Uint8Array
}

const buffer = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer

/** Writes a signature as DER. */
export const encode = ({ keyIdentifier, kind, value }: Signature): Uint8Array => {
  const digest = (): AlgorithmIdentifier => new AlgorithmIdentifier({ algorithm: id_sha256 })
  const signer = new SignerInfo({
    version: CMSVersion.v3,
    sid: new SignerIdentifier({ subjectKeyIdentifier: new SubjectKeyIdentifier(buffer(keyIdentifier)) }),
    digestAlgorithm: digest(),
    signatureAlgorithm: kind === "rsa"
      ? new AlgorithmIdentifier({ algorithm: id_rsaEncryption, parameters: asnNull })
      : new AlgorithmIdentifier({ algorithm: id_ecdsaWithSha256 }),
    signature: new OctetString(buffer(value))
  })
  const signed = new SignedData({
    version: CMSVersion.v3,
    digestAlgorithms: new DigestAlgorithmIdentifiers([digest()]),
    encapContentInfo: new EncapsulatedContentInfo({ eContentType: id_data }),
    signerInfos: new SignerInfos([signer])
  })
  const content = new ContentInfo({ contentType: id_signedData, content: AsnConvert.serialize(signed) })
  return new Uint8Array(AsnConvert.serialize(content))
}

const form = (detail: string): SigningError => new SigningError({ reason: "Form", detail })

const parse = <A>(parse: () => A, error: (why: string) => SigningError): A => {
  try {
    return parse()
  } catch (thrown) {
    throw error(thrown instanceof Error ? thrown.message : String(thrown))
  }
}

/** Reads a signature. Throws `SigningError`, reason `Form`, for anything but the form that `encode` writes. */
export const decode = (bytes: Uint8Array): Signature => {
  const wrong = (why: string): SigningError => form(`the signature is no CMS SignedData: ${why}`)
  const content = parse(() => AsnConvert.parse(buffer(bytes), ContentInfo), wrong)
  if (content.contentType !== id_signedData) throw form("the signature is another kind of CMS content than SignedData")
  const signed = parse(() => AsnConvert.parse(content.content, SignedData), wrong)
  const [signer, ...others] = signed.signerInfos
  if (signer === undefined || others.length > 0) {
    throw form(`the signature has ${signed.signerInfos.length} signers, not one`)
  }
  if (signed.encapContentInfo.eContent !== undefined) {
    throw form("the signature is not detached: it brings its own content")
  }
  if (signed.encapContentInfo.eContentType !== id_data) throw form("the signature is of something else than data")
  if (signer.signedAttrs !== undefined) throw form("the signature has signed attributes: it is not of the loader alone")
  if (signer.digestAlgorithm.algorithm !== id_sha256) throw form("the signature is of another digest than SHA-256")
  const identifier = signer.sid.subjectKeyIdentifier
  if (identifier === undefined) throw form("the signature does not name its signer by the identifier of a key")
  const { algorithm } = signer.signatureAlgorithm
  if (algorithm !== id_rsaEncryption && algorithm !== id_ecdsaWithSha256) {
    throw form(`the signature is by an algorithm that is not RSA or ECDSA with SHA-256 (${algorithm})`)
  }
  const decoded: Signature = {
    keyIdentifier: new Uint8Array(identifier.buffer),
    kind: algorithm === id_rsaEncryption ? "rsa" : "ec",
    value: new Uint8Array(signer.signature.buffer)
  }
  // Bytes that say the same in another way would be another signature of the same loader.
  const again = encode(decoded)
  if (again.length !== bytes.length || again.some((byte, at) => byte !== bytes[at])) {
    throw form("the signature has more in it than it needs, or is not in distinguished encoding")
  }
  return decoded
}

/** The identifier of a certificate's key: its extension of that name. Throws `SigningError` where it has none. */
export const keyIdentifier = (certificate: Uint8Array): Uint8Array => {
  const wrong = (why: string): SigningError =>
    new SigningError({ reason: "Certificate", detail: `the certificate cannot be read: ${why}` })
  const { tbsCertificate } = parse(() => AsnConvert.parse(buffer(certificate), Certificate), wrong)
  const extension = tbsCertificate.extensions?.find(({ extnID }) => extnID === id_ce_subjectKeyIdentifier)
  if (extension === undefined) {
    throw new SigningError({
      reason: "Certificate",
      detail: "the certificate has no identifier of its key, by which the kernel finds it",
      hint: "make it with the extension subjectKeyIdentifier = hash"
    })
  }
  return new Uint8Array(parse(() => AsnConvert.parse(extension.extnValue.buffer, SubjectKeyIdentifier), wrong).buffer)
}
