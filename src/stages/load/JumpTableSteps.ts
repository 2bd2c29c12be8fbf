/**
 * The steps that make the maps of a program's jump tables (`BPF_MAP_TYPE_INSN_ARRAY`): one entry for each place that `gotox`
 * may lead to, sealed before the program is loaded.
 *
 * Source: reference page `load`, section 7.8.
 */
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { JumpTable } from "../relocate/RelocatedObject.ts"
import { type LoadPlan, required } from "./LoadPlan.ts"
import { plainValue } from "./MapSteps.ts"

/** `struct bpf_insn_array_value`: where the instruction is, then what the kernel makes of it, and padding. */
const valueSize = 16

const word = (bytes: number, value: number, order: KernelInfo.KernelInfo["byteOrder"]): Uint8Array => {
  const word = new Uint8Array(bytes)
  new DataView(word.buffer).setUint32(0, value, order === "little")
  return word
}

/** Makes the maps of these tables, in order. */
export const of = (
  tables: ReadonlyArray<JumpTable>,
  program: string,
  order: KernelInfo.KernelInfo["byteOrder"]
): LoadPlan =>
  tables.flatMap(({ map: index, targets }, position) => {
    const map = Ref.map(index)
    const why = `jump table ${position} of ${program}`
    return [
      required({
        _tag: "MapCreate",
        as: map,
        attr: {
          name: ".jumptables",
          type: MapType.BPF_MAP_TYPE_INSN_ARRAY,
          keySize: 4,
          valueSize,
          maxEntries: targets.length,
          flags: 0,
          numaNode: 0,
          ifindex: 0,
          extra: 0n
        }
      }, why),
      ...targets.map((target, entry) =>
        required({
          _tag: "MapUpdate",
          map,
          key: word(4, entry, order),
          value: plainValue(word(valueSize, target, order)),
          flags: 0n
        }, `${why}: instruction ${target}`)
      ),
      required({ _tag: "MapFreeze", map }, `${why} is constant`)
    ]
  })
