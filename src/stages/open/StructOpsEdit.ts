/**
 * Changes to struct_ops variables before a load: values of members, and which programs stand in its functions.
 *
 * What libbpf lets be written through a pointer to the struct's image, by the members' names and as values of their types.
 */
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import * as BtfValue from "../../btf/BtfValue.ts"
import { ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { BpfObject, MapDefinition, StructOps } from "./BpfObject.ts"
import { type EditError, mostNames, oneOf, refuse } from "./EditError.ts"

/** A member of a struct_ops variable. */
interface Place {
  readonly btf: Btf.Btf
  /** Position of the variable in `object.maps`. */
  readonly position: number
  readonly map: MapDefinition
  readonly structOps: StructOps
  /** `variable.member`, for messages. */
  readonly path: string
  readonly member: string
  /** Whether it is one of the struct's own, not of a struct in it. */
  readonly outermost: boolean
  /** Bytes from the struct's beginning. */
  readonly offset: number
  readonly type: number
  readonly content: "Function" | "Pointer" | "Value"
}

const contentOf = (btf: Btf.Btf, type: number): Place["content"] => {
  const pointer = Btf.typeOf(btf, Btf.resolveType(btf, type))
  if (pointer._tag !== "Ptr") return "Value"
  return Btf.kindOf(btf, Btf.resolveType(btf, pointer.type)) === Btf.BTF_KIND_FUNC_PROTO ? "Function" : "Pointer"
}

/** Finds a member by its path: names with dots between them lead into structs. */
const find = (object: BpfObject, variable: string, path: string): Result.Result<Place, EditError> => {
  const { btf, maps } = object
  const position = maps.findIndex((map) => map.structOps !== undefined && map.name === variable)
  const map = maps[position]
  if (map?.structOps === undefined || btf === undefined) {
    const names = maps.flatMap((each) => each.structOps === undefined ? [] : [each.name])
    return refuse("NoSuchVariable", variable, "there is no such struct_ops variable", oneOf(names))
  }
  const { structOps } = map
  const whole = `${variable}.${path}`
  let type = structOps.typeId
  let offset = 0
  const names = path.split(".")
  for (const name of names) {
    const struct = Btf.typeOf(btf, Btf.resolveType(btf, type))
    const members = struct._tag === "Struct" || struct._tag === "Union" ? struct.members : []
    const member = members.find((each) => each.name === name)
    if (member === undefined || name === "") {
      const known = members.flatMap((each) => each.name === "" ? [] : [each.name]).slice(0, mostNames)
      return refuse(
        "NoSuchMember",
        whole,
        `${Btf.typeName(btf, type)} has no member ${name}`,
        known.length === 0 ? undefined : `it has ${known.join(", ")}`
      )
    }
    if (member.bitfieldSize > 0 || member.bitOffset % 8 !== 0) {
      return refuse("Value", whole, "it is a bit field, which the kernel takes from no struct_ops variable")
    }
    type = member.type
    offset += member.bitOffset / 8
  }
  const content = contentOf(btf, type)
  return Result.succeed({
    btf,
    position,
    map,
    structOps,
    path: whole,
    member: path,
    outermost: names.length === 1,
    offset,
    type,
    content
  })
}

const withMap = (object: BpfObject, position: number, map: MapDefinition): BpfObject => ({
  ...object,
  maps: object.maps.map((each, at) => at === position ? map : each)
})

/** Puts a program into a function, or takes the one away that is there. */
const setProgram = (object: BpfObject, place: Place, name: unknown): Result.Result<BpfObject, EditError> => {
  const { map, member, offset, outermost, path, position, structOps } = place
  const candidates = object.programs.flatMap(({ entry, name, type }) =>
    entry && type === ProgType.BPF_PROG_TYPE_STRUCT_OPS ? [name] : []
  )
  if (name !== null && typeof name !== "string") {
    return refuse("Value", path, "it is a function: give the name of a program, or null for none", oneOf(candidates))
  }
  if (!outermost) return refuse("Value", path, "functions of structs within the struct cannot be programs")
  const program = name === null
    ? -1
    : object.programs.findIndex((each) => each.entry && each.name === name)
  if (name !== null && object.programs[program] === undefined) {
    return refuse("NoSuchProgram", path, `there is no program ${name}`, oneOf(candidates))
  }
  if (name !== null && object.programs[program]?.type !== ProgType.BPF_PROG_TYPE_STRUCT_OPS) {
    return refuse("Value", path, `${name} is no struct_ops program`, oneOf(candidates))
  }
  const before = structOps.members.find((each) => each.offset === offset)?.program
  const others = structOps.members.filter((each) => each.offset !== offset)
  const members = name === null ? others : [...others, { offset, member, program }].sort((a, b) => a.offset - b.offset)
  const changed = withMap(object, position, { ...map, structOps: { ...structOps, members } })
  const isUsed = changed.maps.some((each) => each.structOps?.members.some(({ program }) => program === before) === true)
  // A program that stands nowhere any more cannot be loaded: nothing says what it is for.
  return Result.succeed(
    before === undefined || isUsed ? changed : {
      ...changed,
      programs: changed.programs.map((each, at) => at === before ? { ...each, autoload: false } : each)
    }
  )
}

/**
 * Sets a member of a struct_ops variable, found by its path (`flags`, or `inner.flags` in a struct within the struct). A function
 * takes the name of a struct_ops program or `null` for none; a program that then stands nowhere is not loaded. Anything else is
 * checked against its BTF type: see `BtfValue.encode` for what fits which type. Pointers to data can only be `null`.
 */
export const setStructOps = (
  object: BpfObject,
  variable: string,
  member: string,
  value: unknown
): Result.Result<BpfObject, EditError> =>
  Result.flatMap(find(object, variable, member), (place) => {
    const { btf, content, map, offset, path, position, type } = place
    if (content === "Function") return setProgram(object, place, value)
    if (content === "Pointer" && value !== null) {
      return refuse(
        "Value",
        path,
        "it is a pointer to data, which the kernel takes from no struct_ops variable",
        "give null"
      )
    }
    const image = map.initialValue?.slice()
    const size = Btf.resolveSize(btf, type)
    if (image === undefined || Result.isFailure(size) || offset + size.success > image.length) {
      return refuse("Value", path, "its type has no size, or lies outside of the variable")
    }
    const bytes = content === "Pointer"
      ? Result.succeed(new Uint8Array(0))
      : BtfValue.encode(btf, type, value, object.byteOrder)
    if (Result.isFailure(bytes)) return refuse("Value", path, bytes.failure.message)
    if (bytes.success.length > size.success) {
      return refuse("Value", path, `the value has ${bytes.success.length} bytes, the member ${size.success}`)
    }
    image.fill(0, offset, offset + size.success)
    image.set(bytes.success, offset)
    return Result.succeed(withMap(object, position, { ...map, initialValue: image }))
  })

/** What a member of a struct_ops variable has: a function the name of a program or `null`, anything else its value. */
export const getStructOps = (
  object: BpfObject,
  variable: string,
  member: string
): Result.Result<BtfValue.BtfValue | null, EditError> =>
  Result.flatMap(find(object, variable, member), (place): Result.Result<BtfValue.BtfValue | null, EditError> => {
    const { btf, content, map, offset, outermost, path, structOps, type } = place
    if (content === "Function") {
      const program = outermost ? structOps.members.find((each) => each.offset === offset)?.program : undefined
      return Result.succeed(program === undefined ? null : object.programs[program]?.name ?? null)
    }
    const size = Btf.resolveSize(btf, type)
    const image = map.initialValue
    if (image === undefined || Result.isFailure(size) || offset + size.success > image.length) {
      return refuse("Value", path, "its type has no size, or lies outside of the variable")
    }
    const value = BtfValue.decode(btf, type, image.subarray(offset, offset + size.success), object.byteOrder)
    return Result.isFailure(value) ? refuse("Value", path, value.failure.message) : Result.succeed(value.success)
  })
