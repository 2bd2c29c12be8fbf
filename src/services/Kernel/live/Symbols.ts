/**
 * Symbols of the running kernel by their names: BTF ids of functions, variables and typedefs, and addresses.
 *
 * A symbol that a stage has resolved is taken as it is. The rest is looked for in vmlinux and then in every module, by
 * exact name and among a module's own types. Expected types are not compared here: the verifier checks arguments of
 * calls against the kernel's own types, and stages that know those types have compared them before.
 *
 * Source: reference page `load`, sections 4 and 9.4.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Btf from "../../../btf/Btf.ts"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { KernelSymbol } from "../KernelCall.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import type { Sys } from "../sys/Sys.ts"
import type { Target } from "./Bind.ts"
import type { Context } from "./Context.ts"
import { vmlinux } from "./BtfObjects.ts"
import { enter } from "./Enter.ts"
import type { Facts } from "./Facts.ts"
import type { Found } from "./Kallsyms.ts"

const kinds = {
  Func: Btf.BTF_KIND_FUNC,
  Var: Btf.BTF_KIND_VAR,
  Typedef: Btf.BTF_KIND_TYPEDEF,
  Struct: Btf.BTF_KIND_STRUCT
} as const

/** Room for a module's name, bytes: `MODULE_NAME_LEN`. */
const moduleNameLength = 64

/** Where a typed symbol is: a module's name, or vmlinux. */
interface Owned {
  readonly owner: string
  readonly id: number
}

/** Looks a typed symbol up in the BTF of vmlinux and of the modules. */
const findOwned = (
  facts: Facts,
  program: string,
  symbol: KernelSymbol,
  kind: number
): Result.Result<Owned | undefined, KernelError> =>
  Result.gen(function*() {
    /** Modules that may have it, and whose types cannot be read: that matters only where nobody else has it. */
    const broken: Array<string> = []
    const id = symbol.module === undefined || symbol.module === vmlinux
      ? Btf.findOne(yield* facts.vmlinux(), symbol.name, kind)
      : undefined
    if (id !== undefined || symbol.module === vmlinux) return id === undefined ? undefined : { owner: vmlinux, id }
    for (const { name: owner, types } of facts.modules()) {
      if (symbol.module !== undefined && symbol.module !== owner) continue
      const btf = types()
      // A module may go while its types are read; that it has none of the name is then as true as anything.
      if (Result.isFailure(btf)) {
        if (btf.failure.errno === "ENOENT") continue
        broken.push(`${owner} (${btf.failure.message})`)
        continue
      }
      const id = Btf.findOwn(btf.success, symbol.name, kind)
      if (id !== undefined) return { owner, id }
    }
    if (symbol.weak || broken.length === 0) return undefined
    return yield* Result.fail(fromErrno("ProgLoad", program, Errno.numbers.ESRCH, {
      hint: `${symbol.name} was not found, and types of these modules could not be read: ${broken.join(", ")}`
    }))
  })

/** The address of a symbol, as far as this process may see it. */
const addressOf = (
  program: string,
  symbol: KernelSymbol,
  addresses: Found
): Result.Result<Target | undefined, KernelError> => {
  const address = addresses.of.get(symbol.name)
  const refuse = (errnoNumber: number, hint: string) =>
    Result.fail(fromErrno("ProgLoad", program, errnoNumber, { hint }))
  if (address === "ambiguous") {
    return refuse(
      Errno.numbers.ENOTUNIQ,
      `the kernel has several symbols ${symbol.name}: a program cannot name one of them`
    )
  }
  if (address === undefined) return Result.succeed(undefined)
  return addresses.hidden && !symbol.weak
    ? refuse(
      Errno.numbers.EPERM,
      `the kernel hides the address of ${symbol.name} from this process: see kernel.kptr_restrict`
    )
    : Result.succeed({ _tag: "Address", address })
}

/** Descriptors of the BTF of modules, found by going through all BTF objects; closed with the scope. */
const openModule = (sys: Sys, program: string, name: string): Effect.Effect<number, KernelError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.mapError(
      findModule(sys, program, name),
      (error) => error.errno === "EPERM" ? notByIdentifier(error) : error
    ),
    (fd) => Effect.sync(() => sys.close(fd))
  )

/** A module's types are opened by their identifier, whoever needs them, and that is asked of nobody but root. */
const notByIdentifier = (error: KernelError): KernelError =>
  fromErrno("ProgLoad", error.subject, error.errnoNumber, {
    hint: "types of modules are opened by their identifiers, which needs root, or CAP_SYS_ADMIN"
  })

const findModule = Effect.fnUntraced(function*(sys: Sys, program: string, name: string) {
  const request = { call: "ProgLoad", subject: program } as const
  for (let id = 0;;) {
    const next = yield* enter(sys, {
      ...request,
      command: Command.BPF_BTF_GET_NEXT_ID,
      layout: Attr.Ids,
      values: { start_id: id },
      accept: [Errno.numbers.ENOENT]
    })
    if (next.result < 0) {
      return yield* fromErrno("ProgLoad", program, Errno.numbers.ESRCH, {
        hint: `module ${name} is not loaded, or has no BTF`
      })
    }
    id = Arena.field(next.arena, "next_id")
    const opened = yield* enter(sys, {
      ...request,
      command: Command.BPF_BTF_GET_FD_BY_ID,
      layout: Attr.BtfGetFdById,
      values: { btf_id: id },
      answer: "Descriptor",
      // The object went away since its id was read.
      accept: [Errno.numbers.ENOENT]
    })
    if (opened.result < 0) continue
    const isWanted = yield* Effect.onError(
      isModule(sys, program, opened.result, name),
      () => Effect.sync(() => sys.close(opened.result))
    )
    if (isWanted) return opened.result
    sys.close(opened.result)
  }
})

/** Whether a descriptor is the BTF of this module. */
const isModule = (sys: Sys, program: string, fd: number, name: string): Effect.Effect<boolean, KernelError> =>
  Effect.map(
    enter(sys, {
      call: "ProgLoad",
      subject: program,
      command: Command.BPF_OBJ_GET_INFO_BY_FD,
      layout: Attr.GetInfo,
      values: {
        bpf_fd: fd,
        info_len: Attr.BtfInfo.size,
        info: Arena.struct(Attr.BtfInfo, { name: Arena.room(moduleNameLength), name_len: moduleNameLength })
      },
      // A name that is longer is not a module's.
      accept: [Errno.numbers.ENOSPC]
    }),
    ({ arena }) =>
      Arena.readNumber(Arena.region(arena, "info"), Attr.BtfInfo.fields.kernel_btf) !== 0 &&
      Arena.cString(Arena.region(arena, "info", "name")) === name
  )

/** The lookup of symbols for a session. */
export const make = (sys: Sys, facts: Facts): Context["targets"] =>
  Effect.fnUntraced(function*(program: string, symbols: ReadonlyArray<KernelSymbol>) {
    const targets = new Map<KernelSymbol, Target | undefined>()
    const names = symbols.filter((symbol) => symbol.kind === "Address" && symbol.resolved === undefined)
      .map((symbol) => symbol.name)
    const addresses: Found = names.length === 0
      ? { of: new Map(), hidden: false }
      : yield* Effect.fromResult(facts.addresses(names))
    const descriptors = new Map<string, number>()
    const descriptorOf = Effect.fnUntraced(function*(module: string) {
      const open = descriptors.get(module) ?? (yield* openModule(sys, program, module))
      descriptors.set(module, open)
      return open
    })
    const targetOf = Effect.fnUntraced(function*({ id, owner }: Owned) {
      const moduleFd = owner === vmlinux ? undefined : yield* descriptorOf(owner)
      return { _tag: "Type", id, moduleFd } as const
    })
    for (const symbol of symbols) {
      if (targets.has(symbol)) continue
      const { kind, resolved } = symbol
      if (resolved !== undefined) {
        if ("absent" in resolved) targets.set(symbol, undefined)
        else if ("address" in resolved) targets.set(symbol, { _tag: "Address", ...resolved })
        else targets.set(symbol, yield* targetOf(resolved))
      } else if (kind === "Address") {
        targets.set(symbol, yield* Effect.fromResult(addressOf(program, symbol, addresses)))
      } else {
        const owned = yield* Effect.fromResult(findOwned(facts, program, symbol, kinds[kind]))
        targets.set(symbol, owned === undefined ? undefined : yield* targetOf(owned))
      }
    }
    return (symbol: KernelSymbol) => targets.get(symbol)
  })
