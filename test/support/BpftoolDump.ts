/** bpftool's dumps made comparable with ours: versions differ in what is around the types, and some have known faults. */

/** The types of a header, without what comes before and after them. */
export const bodyOf = (header: string): string => {
  const lines = header.split("\n")
  const first = lines.findIndex((line, index) => /^(struct|union|enum|typedef)\b/.test(line) && lines[index - 1] === "")
  if (first < 0) return ""
  const after = lines.findIndex((line, index) => index > first && /^(#|\/\* BPF kfuncs)/.test(line))
  return `${lines.slice(first, after).join("\n").trimEnd()}\n\n`
}

/** The declarations of kfuncs. */
export const kfuncsOf = (header: string): string =>
  header.split("\n").filter((line) => line.startsWith("extern ")).join("\n")

/** Without the attributes that say the size of an enum, which bpftool 7.1 does not write. */
export const withoutModes = (text: string): string => text.replaceAll(/ __attribute__\(\(mode\((byte|word)\)\)\)/g, "")

/** Without the attribute of enums of two bytes, which libbpf never writes. */
export const withoutHalves = (text: string): string => text.replaceAll(" __attribute__((mode(HI)))", "")

/** bpftool before 7.6 takes every type tag for the argument of `btf_type_tag`. */
export const withTagFault = (text: string): string =>
  text.replaceAll(/__attribute__\(\((address_space\(1\))\)\)/g, "__attribute__((btf_type_tag(\"$1\")))")

/** Without the attribute of kfuncs whose callers keep registers, which newer ones write. */
export const withoutFastcall = (text: string): string => text.replaceAll("__bpf_fastcall ", "")

/** Large unsigned values of 32-bit enums extended by their sign, as bpftool's JSON has them. */
export const withSignFault = (json: string): string =>
  json.replaceAll(
    /"kind":"ENUM","name":"(?:[^"\\]|\\.)*","encoding":"UNSIGNED"[^\]]*\]/g,
    (type) =>
      type.replaceAll(/"val":(\d{10})\b/g, (whole, digits: string) =>
        Number(digits) >= 2 ** 31 ? `"val":${BigInt.asUintN(64, BigInt(Number(digits) | 0))}` : whole)
  )
