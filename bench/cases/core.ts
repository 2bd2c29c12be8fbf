import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import * as Encode from "../../src/insn/Encode.ts"
import type { InfoRecords } from "../../src/services/Kernel/KernelCall.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as Info from "../../src/stages/relocate/Info.ts"
import * as Layout from "../../src/stages/relocate/Layout.ts"
import type { Case } from "../Harness.ts"

interface Work {
  readonly insns: Uint8Array
  readonly records: InfoRecords
  readonly local: Btf.Btf
}

const vmlinux = "/sys/kernel/btf/vmlinux"

/** The named members of a struct that are integers or pointers. */
const numbersOf = (kernel: Btf.Btf, type: Btf.BtfType): ReadonlyArray<Btf.Member> =>
  type._tag !== "Struct" ? [] : type.members.filter((member) => {
    const kind = Btf.kindOf(kernel, Btf.skipModifiersAndTypedefs(kernel, member.type))
    return member.name !== "" && member.bitfieldSize === 0 && (kind === Btf.BTF_KIND_INT || kind === Btf.BTF_KIND_PTR)
  })

/**
 * An object that reads four fields of each of so many of the kernel's structs, or of the one of this name; it believes
 * them to lie elsewhere.
 */
const reading = (kernel: Btf.Btf, wanted: number, only?: string): Work => {
  const empty = Result.getOrThrow(Btf.parse(emptyBlob(), { pointerSize: 8 }))
  const editor = BtfEdit.edit(empty)
  const int = editor.addInt("unsigned long", 8, 0)
  const pointer = editor.addPtr(0)
  const types: Array<number> = []
  const seen = new Set<string>()
  for (let id = 1; id < kernel.endId && types.length < wanted; id++) {
    if (Btf.kindOf(kernel, id) !== Btf.BTF_KIND_STRUCT) continue
    const type = Btf.typeOf(kernel, id)
    const numbers = numbersOf(kernel, type).slice(0, 4)
    if (
      type._tag !== "Struct" || type.name !== (only ?? type.name) || type.name === "" || numbers.length < 4 ||
      seen.has(type.name)
    ) continue
    // Names that only one struct has: others are ambiguous.
    if (Btf.find(kernel, type.name, Btf.BTF_KIND_STRUCT)._tag !== "One") continue
    seen.add(type.name)
    types.push(editor.addStruct(
      type.name,
      32,
      numbers.map((member, index) => {
        const kind = Btf.kindOf(kernel, Btf.skipModifiersAndTypedefs(kernel, member.type))
        return {
          name: member.name,
          type: kind === Btf.BTF_KIND_PTR ? pointer : int,
          bitOffset: index * 64,
          bitfieldSize: 0
        }
      })
    ))
  }
  const accesses = ["0:0", "0:1", "0:2", "0:3"].map((text) => editor.addString(text))
  const local = Result.getOrThrow(editor.finish())
  const records = new Uint8Array(types.length * 64)
  const view = new DataView(records.buffer)
  const insns: Array<Uint8Array> = []
  for (const type of types) {
    for (const [index, access] of accesses.entries()) {
      const at = insns.length
      const words = [at * 8, type, access, 0]
      words.forEach((word, field) => view.setUint32(at * 16 + field * 4, word, true))
      insns.push(Encode.alu64Imm(0, 1, index * 8))
    }
  }
  return { insns: Encode.program(...insns), records: { recordSize: 16, records }, local }
}

const emptyBlob = (): Uint8Array => {
  const bytes = new Uint8Array(25)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, Btf.BTF_MAGIC, true)
  view.setUint8(2, Btf.BTF_VERSION)
  view.setUint32(4, 24, true)
  view.setUint32(20, 1, true)
  return bytes
}

/** The only program of a fixture. */
const fixture = (name: string): Work => {
  const path = Path.join(import.meta.dirname, "../../test/fixtures", name)
  const object = Result.getOrThrow(Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path }))
  const { insns, layout } = Layout.layOut(object, 0)
  const { records } = Info.pick(object, Info.index(object.btfExt?.coreRelocations, "little"), layout, "bytes")
  if (records === undefined || object.btf === undefined) throw new Error(`${name} has no CO-RE records`)
  return { insns, records, local: object.btf }
}

const run = ({ insns, local, records }: Work, target: Core.CoreTarget): Core.Relocated =>
  Result.getOrThrow(Core.relocate(insns, records, local, target))

/**
 * Applying CO-RE records against the running kernel's types, which are parsed already. libbpf offers no boundary around
 * just this work, so there is no peer in these rows: `cold` also builds the index of the kernel's names, `indexed` has it
 * and decides every record, `warm` has seen the object before, as for its second program.
 */
export default function(): ReadonlyArray<Case> {
  if (!Fs.existsSync(vmlinux)) return []
  const kernel = Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(vmlinux))))
  const works = {
    "1996 fields of 499 structs": reading(kernel, 499),
    "4 fields of sk_buff": reading(kernel, 1, "sk_buff"),
    core_reads: fixture("core_reads.bpf.o")
  }
  return Object.entries(works).flatMap(([name, work]) => {
    const inputBytes = work.records.records.length
    const known = Core.target(kernel)
    return [
      { name: `core cold ${name}`, inputBytes, ours: () => run(work, Core.target(kernel)) },
      { name: `core indexed ${name}`, inputBytes, ours: () => run(work, Core.target(kernel)) },
      { name: `core warm ${name}`, inputBytes, ours: () => run(work, known) }
    ]
  })
}
