/**
 * The same bytes, not copied, as a `Uint8Array` and nothing more. Node's `Buffer`, which is what reading a file gives,
 * also is a `Uint8Array`, but its `slice` does not copy: what is changed in a "copy" then changes in the original.
 */
export const plainBytes = (bytes: Uint8Array): Uint8Array =>
  bytes.constructor === Uint8Array ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
