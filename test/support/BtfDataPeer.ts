/** libbpf's typed data dump as a judge: `bench/peers/btf_data.c`, whose head says what is asked and answered. */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository, run, temporaryFolder } from "./Require.ts"

/** One dump that is asked for. */
export interface DataRequest {
  readonly typeId: number
  readonly bytes: Uint8Array
  readonly compact?: boolean
  readonly skipNames?: boolean
  readonly emitZeroes?: boolean
  /** Names are numbered for this request alone. */
  readonly fresh?: boolean
  readonly indent?: string
  readonly level?: number
}

/** What libbpf said: the size of the type or a negative errno, and the text so far. */
export interface DataAnswer {
  readonly returned: number
  readonly text: string
}

/**
 * Builds the judge against the system's libbpf, or against the one below `libbpf` (as `LIBBPF` of
 * `bench/peers/build.sh`). Returns the path of the command.
 */
export const buildDataPeer = (libbpf?: string): string => {
  const command = Path.join(temporaryFolder(), "btf_data")
  const source = Path.join(repository, "bench/peers/btf_data.c")
  const library = libbpf === undefined
    ? ["-lbpf"]
    : [`-I${libbpf}/include`, `-L${libbpf}/lib64`, `-Wl,-rpath,${libbpf}/lib64`, "-lbpf"]
  const built = run("cc", ["-std=gnu11", "-O1", source, "-o", command, ...library])
  if (built.status !== 0) throw new Error(`the judge does not build: ${built.stderr}`)
  return command
}

/** Asks the judge for all dumps of types of the BTF in `file`; as many answers as requests. */
export const askDataPeer = (
  command: string,
  file: string,
  requests: ReadonlyArray<DataRequest>
): ReadonlyArray<DataAnswer> => {
  const input = Buffer.concat(requests.flatMap((request) => {
    const indent = Buffer.from(request.indent ?? "\t")
    const head = Buffer.alloc(20)
    head.writeUInt32LE(request.typeId, 0)
    const flags = [request.compact, request.skipNames, request.emitZeroes, request.fresh]
    head.writeUInt32LE(flags.reduce((sum, flag, bit) => sum + (flag === true ? 2 ** bit : 0), 0), 4)
    head.writeInt32LE(request.level ?? 0, 8)
    head.writeUInt32LE(indent.length, 12)
    head.writeUInt32LE(request.bytes.length, 16)
    return [head, indent, request.bytes]
  }))
  const folder = temporaryFolder()
  const inputPath = Path.join(folder, "requests")
  const outputPath = Path.join(folder, "answers")
  Fs.writeFileSync(inputPath, input)
  const [from, to] = [Fs.openSync(inputPath, "r"), Fs.openSync(outputPath, "w")]
  const done = ChildProcess.spawnSync(command, ["text", file], { stdio: [from, to, "pipe"], timeout: 300_000 })
  Fs.closeSync(from)
  Fs.closeSync(to)
  if (done.status !== 0) throw new Error(`the judge ended with ${done.status ?? done.signal}: ${String(done.stderr)}`)
  const output = Fs.readFileSync(outputPath)
  const answers: Array<DataAnswer> = []
  for (let at = 0; at < output.length;) {
    const length = output.readUInt32LE(at + 4)
    const text = output.toString("latin1", at + 8, at + 8 + length)
    answers.push({ returned: output.readInt32LE(at), text })
    at += 8 + length
  }
  if (answers.length !== requests.length) throw new Error(`${answers.length} answers to ${requests.length} requests`)
  return answers
}

/** A fault of libbpf 1.5 in its typed data dump, and the least change of its source that takes the fault away. */
export interface Repair {
  readonly fault: string
  readonly from: string
  readonly to: string
}

/** The faults, in the order of `BtfDataDump`'s list where they are on it. */
export const repairs: ReadonlyArray<Repair> = [
  { fault: "zero is asked of the first member alone", from: "if (err != ENODATA)", to: "if (err != -ENODATA)" },
  {
    fault: "an array of characters never ends being one",
    from: "d->typed_dump->is_array_member = is_array_member;",
    to: "d->typed_dump->is_array_member = is_array_member; d->typed_dump->is_array_char = false;"
  },
  {
    fault: "names of values above 2^31 are not found",
    from: "if (value != e->val)",
    to: "if (value != (is_signed ? (__s64)e->val : (__s64)(__u32)e->val))"
  },
  {
    fault: "bit fields of enums have no sign",
    from: "enum_val = (__s64)print_num;",
    to: "enum_val = btf_kflag(t) ? (__s64)(print_num << (64 - bit_sz)) >> (64 - bit_sz) : (__s64)print_num;"
  },
  {
    fault: "bit fields of enums are zero when their whole bytes are",
    from: "case BTF_KIND_ENUM64:\n\t\terr = btf_dump_get_enum_value",
    to:
      "case BTF_KIND_ENUM64:\n\t\tif (bit_sz)\n\t\t\treturn btf_dump_bitfield_check_zero(d, t, data, bits_offset, bit_sz);\n" +
      "\t\terr = btf_dump_get_enum_value"
  },
  {
    fault: "enums at odd addresses are shifted by 64 bits",
    from: "err = btf_dump_get_bitfield_value(d, t, data, 0, 0, &val);",
    to: "err = btf_dump_get_bitfield_value(d, t, data, 0, t->size * 8, &val);\n" +
      "\t\tif (is_signed) val = (__u64)((__s64)(val << (64 - t->size * 8)) >> (64 - t->size * 8));"
  },
  {
    fault: "null pointers are printed as printf likes",
    from: "btf_dump_type_values(d, \"%p\", *(void **)data);",
    to: "btf_dump_type_values(d, \"0x%llx\", *(unsigned long long *)data);"
  },
  {
    fault: "no separator follows a signed number without a name, and eight bytes show as four",
    from: "btf_dump_type_values(d, is_signed ? \"%d\" : \"%u\", value);",
    to: "if (is_signed) btf_dump_type_values(d, \"%lld\", (long long)value);\n" +
      "\t\telse btf_dump_type_values(d, \"%llu\", (unsigned long long)value);"
  },
  {
    fault: "no separator follows a signed 64-bit number without a name",
    from: "btf_dump_type_values(d, is_signed ? \"%lldLL\" : \"%lluULL\",",
    to: "if (is_signed) btf_dump_type_values(d, \"%lldLL\", (unsigned long long)value);\n" +
      "\t\telse btf_dump_type_values(d, \"%lluULL\","
  },
  {
    fault: "a NUL is left out and the characters after it are not",
    from: "if (d->typed_dump->is_array_terminated)\n\t\t\tbreak;\n\t\tbtf_dump_dump_type_data",
    to: "if (d->typed_dump->is_array_terminated)\n\t\t\tbreak;\n" +
      "\t\tif (d->typed_dump->is_array_char && !d->typed_dump->emit_zeroes && *(char *)data == 0)\n\t\t\tbreak;\n" +
      "\t\tbtf_dump_dump_type_data"
  }
]

/** Builds the judge against libbpf 1.5 without its faults; `judges` is the folder that `judges.sh` fills. */
export const buildRepairedDataPeer = (judges: string, list: ReadonlyArray<Repair> = repairs): string => {
  const folder = temporaryFolder()
  const tools = Path.join(judges, "src/tools")
  const text = list.reduce(
    (source, { fault, from, to }) => {
      if (source.split(from).length !== 2) throw new Error(`this libbpf has not the one place of: ${fault}`)
      return source.replace(from, () => to)
    },
    Fs.readFileSync(Path.join(tools, "lib/bpf/btf_dump.c"), "utf8")
  )
  const dump = Path.join(folder, "btf_dump.c")
  Fs.writeFileSync(dump, text)
  const includes = ["lib/bpf", "include", "include/uapi"].map((path) => `-I${Path.join(tools, path)}`)
  const command = Path.join(folder, "btf_data")
  const compiled = run("cc", ["-std=gnu11", "-O1", "-w", ...includes, "-c", dump, "-o", `${dump}.o`])
  if (compiled.status !== 0) throw new Error(`the repaired dump does not compile: ${compiled.stderr}`)
  // The archive is one object, which has the dump too; the first definition counts.
  const linked = run("cc", [
    "-std=gnu11",
    "-O1",
    "-Wl,--allow-multiple-definition",
    `-I${judges}/libbpf/include`,
    Path.join(repository, "bench/peers/btf_data.c"),
    `${dump}.o`,
    `${judges}/libbpf/lib64/libbpf.a`,
    "-lelf",
    "-lz",
    "-o",
    command
  ])
  if (linked.status !== 0) throw new Error(`the repaired judge does not link: ${linked.stderr}`)
  return command
}
