/** A type that has a part of nearly every kind: what becomes of its bytes is compared, and told. */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"

const member = (name: string, type: number, bytes: number): Btf.Member => ({
  name,
  type,
  bitOffset: bytes * 8,
  bitfieldSize: 0
})

const bits = (name: string, type: number, bitOffset: number, bitfieldSize: number): Btf.Member => ({
  name,
  type,
  bitOffset,
  bitfieldSize
})

/** The type and its BTF; its integers as keys. Bytes of the type. */
export const richType = (): {
  readonly btf: Btf.Btf
  readonly type: number
  readonly key: number
  readonly size: number
} => {
  const editor = BtfEdit.make()
  const u32 = editor.addInt("unsigned int", 4, 0)
  const s32 = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  const u8 = editor.addInt("unsigned char", 1, 0)
  const s8 = editor.addInt("signed char", 1, Btf.BTF_INT_SIGNED)
  const char = editor.addInt("char", 1, Btf.BTF_INT_SIGNED)
  const u16 = editor.addInt("unsigned short", 2, 0)
  const u64 = editor.addInt("unsigned long", 8, 0)
  const s64 = editor.addInt("long", 8, Btf.BTF_INT_SIGNED)
  const bool = editor.addInt("_Bool", 1, Btf.BTF_INT_BOOL)
  const u128 = editor.addInt("unsigned __int128", 16, 0)
  const pointer = editor.addPtr(0)
  const text = editor.addArray(u32, char, 8)
  const octets = editor.addArray(u32, u8, 4)
  const grid = editor.addArray(u32, editor.addArray(u32, u16, 2), 2)
  const color = editor.addEnum("color", 4, [{ name: "RED", value: -1 }, { name: "GREEN", value: 2 }])
  const wide = editor.addEnum64("wide", 8, [{ name: "HUGE", value: 1n << 40n }])
  const point = editor.addStruct("point", 8, [member("x", s32, 0), member("y", s32, 4)])
  const points = editor.addArray(u32, editor.addTypedef("point_t", editor.addConst(point)), 2)
  const either = editor.addUnion("", 8, [member("whole", u64, 0), member("low", u32, 0)])
  const flags = editor.addStruct("flags", 8, [bits("a", u32, 0, 3), bits("b", u32, 3, 7), bits("c", s32, 32, 20)])
  const size = 176
  const type = editor.addStruct("rich", size, [
    member("u8", u8, 0),
    member("s8", s8, 1),
    member("letter", char, 2),
    member("truth", bool, 3),
    member("u32", u32, 4),
    member("u64", u64, 8),
    member("s64", s64, 16),
    member("pointer", pointer, 24),
    member("big", u128, 32),
    member("text", text, 48),
    member("octets", octets, 56),
    member("color", color, 60),
    member("wide", wide, 64),
    member("grid", grid, 72),
    member("points", points, 80),
    member("", either, 96),
    member("flags", flags, 104),
    member("rest", editor.addArray(u32, u64, 8), 112)
  ])
  return { btf: Result.getOrThrow(editor.finish()), type, key: u32, size }
}

/** Bytes in some patterns: zeros, ones, text, numbers of each sign, names of enums. */
export const richValues = (size: number): ReadonlyArray<Uint8Array> => {
  const counting = Uint8Array.from({ length: size }, (_, at) => at)
  const pattern = Uint8Array.from({ length: size }, (_, at) => (at * 73 + 41) % 256)
  pattern[3] = 1
  const named = new Uint8Array(size)
  const view = new DataView(named.buffer)
  named[2] = 0x41
  named.set(new TextEncoder().encode("hello"), 48)
  view.setInt32(60, -1, true)
  view.setBigUint64(64, 1n << 40n, true)
  counting[3] = 1
  return [new Uint8Array(size), counting, pattern, named]
}
