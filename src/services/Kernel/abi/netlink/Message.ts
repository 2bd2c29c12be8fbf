/**
 * Messages of netlink, the protocol by which the kernel is told of devices and traffic control.
 *
 * A datagram holds messages one after another; a message is a header of 16 bytes, a fixed structure and attributes, each a
 * length, a type and bytes. Everything is aligned to 4 bytes and in the byte order of the machine. What comes back is
 * checked as if anybody might have written it: lengths never lead out of the datagram, nor backwards.
 *
 * Source: `include/uapi/linux/netlink.h`; `Documentation/userspace-api/netlink/intro.rst`.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { attempt } from "../../../../internal/attempt.ts"
import { hostIsLittle } from "../Arena.ts"

/** Types of messages that every family has. */
export const Control = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const

/** Flags of messages (`NLM_F_*`); those above 0x80 mean one thing in a request to get and another in one to make. */
export const Flag = {
  REQUEST: 1,
  MULTI: 2,
  ACK: 4,
  ECHO: 8,
  /** What is listed changed meanwhile. */
  DUMP_INTERRUPTED: 0x10,
  /** To get: all of them. */
  DUMP: 0x300,
  /** To make: in the place of what is there. */
  REPLACE: 0x100,
  /** To make: not where one is already. */
  EXCLUSIVE: 0x200,
  CREATE: 0x400,
  /** Of an answer: the request is not repeated in it. */
  CAPPED: 0x100,
  /** Of an answer: attributes follow, the kernel's words among them. */
  ACK_ATTRIBUTES: 0x200
} as const

/** The kernel's answer is not what the protocol says. */
export class NetlinkError extends Schema.TaggedError<NetlinkError>()("NetlinkError", {
  reason: Schema.Literals(["Truncated", "BadLength", "TooLarge", "NoAnswer", "Unexpected"]),
  /** Bytes from the beginning of the datagram. */
  offset: Schema.Number,
  detail: Schema.String
}) {
  override get message(): string {
    return `netlink, byte ${this.offset}: ${this.detail}`
  }
}

/** One message. */
export interface Message {
  readonly type: number
  readonly flags: number
  /** The request that it answers. */
  readonly sequence: number
  /** Whom it is for; 0 is the kernel. */
  readonly port: number
  /** What follows the header. */
  readonly payload: Uint8Array
}

/** What an attribute holds. */
export type AttributeValue =
  | { readonly _tag: "U32"; readonly value: number }
  | { readonly _tag: "S32"; readonly value: number }
  /** Ends with a NUL when it is encoded. */
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Bytes"; readonly bytes: Uint8Array }
  | { readonly _tag: "Nested"; readonly attributes: ReadonlyArray<Attribute> }

/** An attribute to be sent. */
export interface Attribute {
  /** 14 bits. */
  readonly type: number
  readonly value: AttributeValue
}

/** An unsigned number of 32 bits. */
export const u32 = (type: number, value: number): Attribute => ({ type, value: { _tag: "U32", value } })

/** A signed number of 32 bits: descriptors. */
export const s32 = (type: number, value: number): Attribute => ({ type, value: { _tag: "S32", value } })

/** Text. */
export const text = (type: number, text: string): Attribute => ({ type, value: { _tag: "Text", text } })

/** Attributes in an attribute. */
export const nested = (type: number, attributes: ReadonlyArray<Attribute>): Attribute => ({
  type,
  value: { _tag: "Nested", attributes }
})

const headerSize = 16
const attributeHeaderSize = 4
const nestedFlag = 0x8000
const typeMask = 0x3fff

const align = (length: number): number => (length + 3) & ~3

const valueBytes = (value: AttributeValue, little: boolean): Uint8Array => {
  switch (value._tag) {
    case "U32":
    case "S32": {
      const bytes = new Uint8Array(4)
      new DataView(bytes.buffer).setInt32(0, value.value | 0, little)
      return bytes
    }
    case "Text":
      return new TextEncoder().encode(`${value.text}\0`)
    case "Bytes":
      return value.bytes
    case "Nested":
      return encodeAttributes(value.attributes, little)
  }
}

/** Attributes one after another. They are ours and few, so none is longer than the 16 bits of its length. */
export const encodeAttributes = (attributes: ReadonlyArray<Attribute>, little = hostIsLittle): Uint8Array => {
  const parts = attributes.map(({ type, value }) => ({
    type: type | (value._tag === "Nested" ? nestedFlag : 0),
    bytes: valueBytes(value, little)
  }))
  const whole = new Uint8Array(parts.reduce((sum, { bytes }) => sum + align(attributeHeaderSize + bytes.length), 0))
  const view = new DataView(whole.buffer)
  let at = 0
  for (const { bytes, type } of parts) {
    view.setUint16(at, attributeHeaderSize + bytes.length, little)
    view.setUint16(at + 2, type, little)
    whole.set(bytes, at + attributeHeaderSize)
    at += align(attributeHeaderSize + bytes.length)
  }
  return whole
}

/** A message as bytes. */
export const encode = (message: Message, little = hostIsLittle): Uint8Array => {
  const bytes = new Uint8Array(headerSize + message.payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, little)
  view.setUint16(4, message.type, little)
  view.setUint16(6, message.flags, little)
  view.setUint32(8, message.sequence, little)
  view.setUint32(12, message.port, little)
  bytes.set(message.payload, headerSize)
  return bytes
}

const isNetlinkError = (thrown: unknown): thrown is NetlinkError => thrown instanceof NetlinkError

/** The complaint about bytes that are not what they should be. */
export const malformed = (reason: NetlinkError["reason"], offset: number, detail: string): NetlinkError =>
  new NetlinkError({ reason, offset, detail })

/** The messages of a datagram. The last one need not be padded. */
export const decode = (
  datagram: Uint8Array,
  little = hostIsLittle
): Result.Result<ReadonlyArray<Message>, NetlinkError> =>
  attempt(isNetlinkError, () => {
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length)
    const messages: Array<Message> = []
    for (let at = 0; at < datagram.length;) {
      const left = datagram.length - at
      if (left < headerSize) throw malformed("Truncated", at, `a header has ${headerSize} bytes, and ${left} are left`)
      const length = view.getUint32(at, little)
      if (length < headerSize || length > left) {
        throw malformed("BadLength", at, `a message of ${length} bytes, where ${left} are left`)
      }
      messages.push({
        type: view.getUint16(at + 4, little),
        flags: view.getUint16(at + 6, little),
        sequence: view.getUint32(at + 8, little),
        port: view.getUint32(at + 12, little),
        payload: datagram.subarray(at + headerSize, at + length)
      })
      // Below 2^32 by the check, and the padding of the last may be missing.
      at += Math.ceil(length / 4) * 4
    }
    return messages
  })

/** The attributes in these bytes by their types; the last of a type counts, as it does in the kernel. */
export const decodeAttributes = (
  bytes: Uint8Array,
  little = hostIsLittle
): Result.Result<ReadonlyMap<number, Uint8Array>, NetlinkError> =>
  attempt(isNetlinkError, () => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const found = new Map<number, Uint8Array>()
    for (let at = 0; at < bytes.length;) {
      const left = bytes.length - at
      if (left < attributeHeaderSize) {
        throw malformed("Truncated", at, `an attribute begins with ${attributeHeaderSize} bytes, and ${left} are left`)
      }
      const length = view.getUint16(at, little)
      if (length < attributeHeaderSize || length > left) {
        throw malformed("BadLength", at, `an attribute of ${length} bytes, where ${left} are left`)
      }
      found.set(view.getUint16(at + 2, little) & typeMask, bytes.subarray(at + attributeHeaderSize, at + length))
      at += align(length)
    }
    return found
  })

/** The number of 32 bits that an attribute holds; `undefined` where it is absent. */
export const number = (
  attributes: ReadonlyMap<number, Uint8Array>,
  type: number,
  little = hostIsLittle
): Result.Result<number | undefined, NetlinkError> => {
  const bytes = attributes.get(type)
  if (bytes === undefined) return Result.succeed(undefined)
  return bytes.length < 4
    ? Result.fail(malformed("BadLength", 0, `attribute ${type} is a number, and has ${bytes.length} bytes`))
    : Result.succeed(new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, little))
}

/** What the kernel made of a request. */
export interface Acknowledgement {
  /** 0, or the error number, positive. */
  readonly errno: number
  /** The kernel's own words, where it has any. */
  readonly words: string | undefined
  /** Where in the request the fault is, bytes from its beginning. */
  readonly at: number | undefined
}

const wordsAttribute = 1
const offsetAttribute = 2

const cText = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/**
 * What a message of type `ERROR` or `DONE` says. Attributes that cannot be read take nothing away from the error number: there
 * are no words then.
 */
export const acknowledgement = (
  message: Message,
  little = hostIsLittle
): Result.Result<Acknowledgement, NetlinkError> => {
  const { flags, payload, type } = message
  // The end of a list says nothing where nothing went wrong, in old kernels.
  if (payload.length < 4) {
    return type === Control.DONE
      ? Result.succeed({ errno: 0, words: undefined, at: undefined })
      : Result.fail(malformed("Truncated", headerSize, "an answer without its error number"))
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
  const error = view.getInt32(0, little)
  // The kernel answers 0 or a negated error number; the rest is nobody's.
  if (error > 0 || error < -4095) {
    return Result.fail(malformed("Unexpected", headerSize, `an error number is 0 to -4095, and this is ${error}`))
  }
  const none = { errno: error === 0 ? 0 : -error, words: undefined, at: undefined }
  if ((flags & Flag.ACK_ATTRIBUTES) === 0) return Result.succeed(none)
  let from = 4
  if (type === Control.ERROR) {
    if (payload.length < 4 + headerSize) return Result.succeed(none)
    const requestLength = view.getUint32(4, little)
    from += (flags & Flag.CAPPED) === 0 ? Math.ceil(requestLength / 4) * 4 : headerSize
  }
  if (from > payload.length) return Result.succeed(none)
  const attributes = decodeAttributes(payload.subarray(from), little)
  if (Result.isFailure(attributes)) return Result.succeed(none)
  const words = attributes.success.get(wordsAttribute)
  const at = number(attributes.success, offsetAttribute, little)
  return Result.succeed({
    errno: none.errno,
    words: words === undefined ? undefined : cText(words),
    at: Result.isSuccess(at) ? at.success : undefined
  })
}

/** The text of an attribute, `undefined` where it is absent. */
export const textOf = (attributes: ReadonlyMap<number, Uint8Array>, type: number): string | undefined => {
  const bytes = attributes.get(type)
  return bytes === undefined ? undefined : cText(bytes)
}
