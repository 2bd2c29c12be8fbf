/** An archive of one stored member that begins at a page, as `zipalign` makes them. */

const crcOf = (bytes: Uint8Array): number => {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0xedb8_8320)
  }
  return ~crc >>> 0
}

/** The archive, and where the member begins in it. */
export const storedZip = (
  name: string,
  content: Uint8Array,
  page = 4096
): { readonly bytes: Uint8Array; readonly offset: number } => {
  const encoded = new TextEncoder().encode(name)
  const offset = Math.ceil((30 + encoded.length) / page) * page
  const padding = offset - 30 - encoded.length
  const bytes = new Uint8Array(offset + content.length + 46 + encoded.length + 22)
  const view = new DataView(bytes.buffer)
  const shared = (at: number): void => {
    view.setUint16(at, 20, true)
    view.setUint32(at + 10, crcOf(content), true)
    view.setUint32(at + 14, content.length, true)
    view.setUint32(at + 18, content.length, true)
    view.setUint16(at + 22, encoded.length, true)
  }
  view.setUint32(0, 0x0403_4b50, true)
  shared(4)
  view.setUint16(28, padding, true)
  bytes.set(encoded, 30)
  bytes.set(content, offset)
  const directory = offset + content.length
  view.setUint32(directory, 0x0201_4b50, true)
  view.setUint16(directory + 4, 20, true)
  shared(directory + 6)
  bytes.set(encoded, directory + 46)
  const end = directory + 46 + encoded.length
  view.setUint32(end, 0x0605_4b50, true)
  view.setUint16(end + 8, 1, true)
  view.setUint16(end + 10, 1, true)
  view.setUint32(end + 12, 46 + encoded.length, true)
  view.setUint32(end + 16, directory, true)
  return { bytes, offset }
}
