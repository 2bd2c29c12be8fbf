/**
 * The part of a loader that makes maps of kernel structs which programs implement, and says which member each program is.
 *
 * Types are looked up by their names where the loader runs. How large the kernel's struct is, and where it has a member, no
 * program can ask: unless the plan was made for a kernel that is known, these are inputs. A load registers nothing: that is
 * setting the map's element, which whoever runs the loader does with the struct's image.
 *
 * Source: reference pages `load`, section 5, and `gen-loader`, section 9 (libbpf's loaders make none).
 */
import * as Encode from "../../../insn/Encode.ts"
import { BPF_JEQ, BPF_OR, BPF_W } from "../../../insn/InsnConstants.ts"
import * as Attr from "../../../services/Kernel/abi/Attr.ts"
import { MapFlag } from "../../../services/Kernel/abi/BpfConstants.ts"
import {
  isProgFunction,
  type KernelSymbol,
  type MapCreate,
  type ProgLoad
} from "../../../services/Kernel/KernelCall.ts"
import { AssembleError } from "../AssembleError.ts"
import { declareWords } from "./AssembleInputs.ts"
import { findType, isOwnedByKernel, splitType } from "./AssembleSymbols.ts"
import type { Assembly } from "./Assembly.ts"
import * as LoaderCode from "./LoaderCode.ts"
import * as LoaderCopies from "./LoaderCopies.ts"

/** What the struct is called that has the implemented one in it, without the name of that. */
const wrapperPrefix = "bpf_struct_ops_"

/** The struct that programs implement, of the one around it. */
const implementedOf = ({ name }: KernelSymbol): string =>
  name.startsWith(wrapperPrefix) ? name.slice(wrapperPrefix.length) : name

/** The id of the kernel's struct that a map's value is, where the plan says it. */
export const knownValueType = ({ valueType }: MapCreate): number | undefined =>
  valueType !== undefined && isOwnedByKernel(valueType) ? valueType.resolved.id : undefined

/**
 * Completes the `bpf_attr` at `attr` of a map whose value is a struct of the kernel. Answers with the place of the descriptor of
 * its module's types, to be closed when the map is made. Throws `AssembleError`.
 */
export const findValueType = (
  assembly: Assembly,
  call: MapCreate,
  number: number | undefined,
  attr: number
): ReadonlyArray<LoaderCode.Place> => {
  const { valueType } = call
  if (valueType === undefined) return []
  const { code } = assembly
  const { fields } = Attr.MapCreate
  if (call.attr.valueSize === 0) {
    if (number === undefined) {
      throw new AssembleError({
        reason: "BadValue",
        call: call._tag,
        name: call.attr.name,
        detail: "its size depends on the machine, and the context does not speak of it"
      })
    }
    const struct = implementedOf(valueType)
    const from = declareWords(assembly, { _tag: "StructSize", map: number, struct, contextOffset: 0 })
    LoaderCopies.takeWord(code, attr + fields.value_size.offset, from, true)
  }
  if (isOwnedByKernel(valueType)) return []
  findType(assembly, call, valueType)
  LoaderCode.checkError(code)
  splitType(assembly, valueType)
  LoaderCode.checkError(code)
  LoaderCode.emit(
    code,
    LoaderCode.address(8, attr),
    Encode.stx(BPF_W, 8, 7, fields.btf_vmlinux_value_type_id.offset),
    Encode.jmpImm(BPF_JEQ, 9, 0, 4),
    Encode.stx(BPF_W, 8, 9, fields.value_type_btf_obj_fd.offset),
    Encode.ldx(BPF_W, 0, 8, fields.map_flags.offset),
    Encode.alu64Imm(BPF_OR, 0, MapFlag.BPF_F_VTYPE_BTF_OBJ_FD),
    Encode.stx(BPF_W, 8, 0, fields.map_flags.offset)
  )
  return [{ _tag: "Data", offset: attr + fields.value_type_btf_obj_fd.offset }]
}

/** Completes the `bpf_attr` at `attr` of a program that implements a member whose position is not known yet. Throws `AssembleError`. */
export const takeMember = (assembly: Assembly, call: ProgLoad, attr: number): void => {
  const { attachTo } = call
  if (attachTo === undefined || isProgFunction(attachTo)) return
  const { kind, member, name, resolved } = attachTo
  if (kind !== "Struct" || member === undefined || resolved !== undefined) return
  const program = assembly.numbers.programs.get(call.as.index)
  if (program === undefined) {
    throw new AssembleError({
      reason: "BadValue",
      call: call._tag,
      name: call.attr.name,
      detail:
        `the position of ${member} in struct ${name} depends on the kernel, and the context does not speak of the program`
    })
  }
  const from = declareWords(assembly, { _tag: "Member", program, struct: name, member, contextOffset: 0 })
  // Positions are told counted from 1: 0 is a context that nobody has filled.
  LoaderCopies.takeWord(assembly.code, attr + Attr.ProgLoad.fields.expected_attach_type.offset, from, true, 1)
}
