/**
 * Why a loader cannot be signed, or is not validly signed.
 */
import * as Schema from "effect/Schema"

/** A key, a certificate or a signature that does not do. */
export class SigningError extends Schema.TaggedError<SigningError>()("SigningError", {
  reason: Schema.Literals([
    /** The private key cannot be read, or is of a kind that the kernel has no use for. */
    "Key",
    /** The private key is encrypted, and the passphrase is missing or wrong. */
    "Passphrase",
    /** The certificate cannot be read, or has no identifier of its key. */
    "Certificate",
    /** The private key is not the certificate's. */
    "Mismatch",
    /** The loader was not recorded to be signed: it takes changes and inputs, which nobody would have signed. */
    "NotForSigning",
    /** The signature would be longer than loaders' signatures may be. */
    "TooLarge",
    /** There is no signature. */
    "Unsigned",
    /** The signature is no detached CMS `SignedData` of the form that the kernel takes. */
    "Form",
    /** The signature is somebody else's. */
    "Signer",
    /** The signature is not one of these bytes by this key, or of instructions that do not take the data. */
    "Invalid"
  ]),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is a `SigningError`. */
export const isSigningError = (thrown: unknown): thrown is SigningError => thrown instanceof SigningError
