/**
 * The part of a loader that takes what its caller says: changes to maps, and what the loader has to be told of the machine
 * that it runs on.
 *
 * A required input that is empty ends the loader with `EINVAL`. A loader that will be signed takes neither changes nor
 * inputs: what it does is then all in what was signed.
 */
import { MapType } from "../../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes, MapCreate, MapUpdate } from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import { AssembleError } from "../AssembleError.ts"
import type { Assembly, Draft } from "./Assembly.ts"
import * as LoaderCopies from "./LoaderCopies.ts"
import * as LoaderInput from "../LoaderInput.ts"
import * as Layout from "../LoaderLayout.ts"

/** Pages are at least so large, and at most, on any machine that runs Linux and BPF; bytes. */
const smallestPage = 4096
const largestPage = 0x1_0000

const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value))

/** What the size of a map depends on, if on anything. */
const sizeInput = (
  attr: MapAttributes
):
  | { readonly _tag: "PossibleCpus" }
  | { readonly _tag: "RingSize"; readonly bytes: number; readonly required: boolean }
  | undefined =>
{
  switch (attr.type) {
    case MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
      return attr.maxEntries === 0 ? { _tag: "PossibleCpus" } : undefined
    case MapType.BPF_MAP_TYPE_RINGBUF:
    case MapType.BPF_MAP_TYPE_USER_RINGBUF: {
      const bytes = attr.maxEntries
      // None at all is refused by every kernel, and is nobody's to repair.
      if (bytes === 0 || (isPowerOfTwo(bytes) && bytes >= largestPage)) return undefined
      return { _tag: "RingSize", bytes, required: !isPowerOfTwo(bytes) || bytes < smallestPage }
    }
    default:
      return undefined
  }
}

/** Declares an input that has words of its own, and answers with the offset of the first in the context. */
export const declareWords = (assembly: Assembly, input: LoaderInput.LoaderInput): number => {
  const at = assembly.inputsAt + 4 * assembly.inputs.reduce((sum, each) => sum + LoaderInput.wordsOf(each), 0)
  assembly.inputs.push({ ...input, contextOffset: at })
  return at
}

/** Takes a map's size from the context: another one than the object's, or the one that the machine decides. */
export const takeSize = (assembly: Assembly, call: MapCreate, number: number | undefined, to: number): void => {
  const { code, options } = assembly
  const wanted = sizeInput(call.attr)
  const holder = assembly.holders.get(Ref.key(call.as))
  const map = number ?? holder
  if (map === undefined) {
    if (wanted === undefined || (wanted._tag === "RingSize" && !wanted.required)) return
    throw new AssembleError({
      reason: "BadValue",
      call: call._tag,
      name: call.attr.name,
      detail: "its size depends on the machine, and the context does not speak of it"
    })
  }
  const isSigned = options.signed !== undefined
  if (number === undefined) {
    if (wanted === undefined) return
    const input: LoaderInput.LoaderInput = { ...wanted, map, template: true, contextOffset: 0 }
    if (isSigned && !LoaderInput.isRequired(input)) return
    return LoaderCopies.takeWord(code, to, declareWords(assembly, input), LoaderInput.isRequired(input))
  }
  const contextOffset = Layout.contextMap(number) + Layout.MapDescriptor.MAX_ENTRIES
  const input: LoaderInput.LoaderInput | undefined = wanted && { ...wanted, map, template: false, contextOffset }
  const isRequired = input !== undefined && LoaderInput.isRequired(input)
  if (isSigned && !isRequired) return
  if (input !== undefined) assembly.inputs.push(input)
  LoaderCopies.takeWord(code, to, contextOffset, isRequired)
}

/** Takes the initial value of a map from the context: another one, or one that the machine's configuration completes. */
export const takeInitialValue = (
  assembly: Assembly,
  call: MapUpdate,
  map: Draft<MapAttributes> | undefined,
  value: number
): void => {
  const { code, inputs, options } = assembly
  const pending = call.pending ?? []
  const size = call.value.bytes.length
  if (map?.number === undefined) {
    if (pending.length === 0) return
    throw new AssembleError({
      reason: "BadValue",
      call: call._tag,
      name: map?.attr.name ?? Ref.key(call.map),
      detail: "its value depends on the machine, and the context does not speak of it"
    })
  }
  if (call.overridable !== true && pending.length === 0) return
  map.initialValue = { offset: value, size }
  const contextOffset = Layout.contextMap(map.number) + Layout.MapDescriptor.INITIAL_VALUE
  if (pending.length > 0) inputs.push({ _tag: "Kconfig", map: map.number, contextOffset, values: pending })
  if (options.signed !== undefined) return
  LoaderCopies.replaceByCallers(code, value, size, contextOffset, pending.length > 0)
}

/** Throws `AssembleError` where a loader that will be signed needs inputs. */
export const checkSigned = (
  { inputs, options }: Assembly,
  names: Parameters<typeof LoaderInput.describe>[1]
): void => {
  const [first] = inputs
  if (options.signed === undefined || first === undefined) return
  throw new AssembleError({
    reason: "NeedsInputs",
    call: "loader",
    name: "map" in first ? names.map(first.map) : names.program(first.program),
    detail: `a signed loader is told nothing, and this one needs ${
      inputs.map((input) => LoaderInput.describe(input, names)).join("; ")
    }`,
    hint: "record it for a kernel profile, whose values it then has in it, or do not sign it"
  })
}
