/**
 * Attaches programs for callers of promises.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Attach from "../../attach/Attach.ts"
import type { AttachFailure } from "../../attach/AttachError.ts"
import { refuse } from "../../attach/AttachError.ts"
import * as Cgroup from "../../attach/Cgroup.ts"
import * as Iter from "../../attach/Iter.ts"
import * as Kprobe from "../../attach/Kprobe.ts"
import * as KprobeMulti from "../../attach/KprobeMulti.ts"
import * as Ksyscall from "../../attach/Ksyscall.ts"
import type * as EffectLink from "../../attach/Link.ts"
import * as Lirc from "../../attach/Lirc.ts"
import * as Netfilter from "../../attach/Netfilter.ts"
import * as Netkit from "../../attach/Netkit.ts"
import * as Netns from "../../attach/Netns.ts"
import * as PerfEvent from "../../attach/PerfEvent.ts"
import * as RawTracepoint from "../../attach/RawTracepoint.ts"
import * as Sockmap from "../../attach/Sockmap.ts"
import * as Tc from "../../attach/Tc.ts"
import * as Tcx from "../../attach/Tcx.ts"
import * as Tracepoint from "../../attach/Tracepoint.ts"
import * as Tracing from "../../attach/Tracing.ts"
import * as TracingMulti from "../../attach/TracingMulti.ts"
import * as Uprobe from "../../attach/Uprobe.ts"
import * as UprobeMulti from "../../attach/UprobeMulti.ts"
import * as Usdt from "../../attach/Usdt.ts"
import * as Xdp from "../../attach/Xdp.ts"
import type { Kernel } from "../../services/Kernel/Kernel.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type { Attached, AttachOptions, Link, Target } from "../Links.ts"
import type { Resource } from "../Resource.ts"
import { extend, type Lifetime, resource } from "./Lifetime.ts"

type Attaching = Effect.Effect<EffectLink.Link, AttachFailure, Kernel | Scope.Scope>

const example = "say to what: attach({ kind: \"xdp\", device: \"eth0\" })"

const toTarget = (loaded: LoadedObject, program: string, target: Target): Attaching => {
  switch (target.kind) {
    case "xdp":
      return Xdp.attach(loaded, program, target, target)
    case "tcx":
      return Tcx.attach(loaded, program, target, target)
    case "tc":
      return Tc.attach(loaded, program, target, target.direction, target)
    case "netkit":
      return Netkit.attach(loaded, program, target, target)
    case "cgroup":
      return Cgroup.attach(loaded, program, target.path, target)
    case "netfilter":
      return Netfilter.attach(loaded, program, target)
    case "netns":
      return Netns.attach(loaded, program, target)
    case "sockmap":
      return Sockmap.attach(loaded, program, target.map, target)
    case "lirc":
      return Lirc.attach(loaded, program, target.path)
    case "kprobe":
      return Kprobe.attach(loaded, program, target)
    case "kprobe.multi":
      return KprobeMulti.attach(loaded, program, target)
    case "ksyscall":
      return Ksyscall.attach(loaded, program, target)
    case "uprobe":
      return Uprobe.attach(loaded, program, target)
    case "uprobe.multi":
      return UprobeMulti.attach(loaded, program, target)
    case "usdt":
      return Usdt.attach(loaded, program, target)
    case "tracepoint":
      return Tracepoint.attach(loaded, program, target)
    case "raw_tracepoint":
      return RawTracepoint.attach(loaded, program, target)
    case "tracing":
      return Tracing.attach(loaded, program, target)
    case "tracing.multi":
      return TracingMulti.attach(loaded, program, target)
    case "perf_event":
      return PerfEvent.attach(loaded, program, target)
    case "iter":
      return Iter.attach(loaded, program)
    default:
      return unknownKind(program, target)
  }
}

/** JavaScript is not held to the types, and a kind may come from a configuration file. */
const unknownKind = (program: string, target: never): Attaching => {
  const { kind } = target as { readonly kind?: unknown }
  const detail = kind === undefined
    ? "the target does not say its kind"
    : `${JSON.stringify(kind)} is no kind of target`
  return Effect.fail(refuse({ kind: "attach", target: "", program }, "BadTarget", detail, example))
}

/** What the section of a program says, alone. */
const bySection = (loaded: LoadedObject, program: string): Attaching =>
  Effect.suspend(() => {
    const planned = Attach.describe(loaded.object).find(({ isMap, name }) => !isMap && name === program)
    if (planned?._tag === "Attach") return Attach.attachSpec(loaded, program, planned.spec)
    const [detail, hint] = planned?._tag === "Fail"
      ? [planned.detail, planned.hint]
      : [
        planned?.because ?? "the object has no such program",
        example
      ]
    return Effect.fail(refuse({ kind: "attach", target: "", program }, "BadTarget", detail, hint))
  })

/** How a link is let go of, told whether it has a pin. */
type Close = (pinned: boolean) => Promise<void>

const handle = (own: Lifetime, loaded: LoadedObject, link: EffectLink.Link, close: Close): Link => {
  let closing: Promise<void> | undefined
  let pinned = false
  return extend(
    resource({
      isClosed: () => closing !== undefined || own.isClosed(),
      close: () => closing ??= own.isClosed() ? own.close() : close(pinned)
    }),
    {
      kind: link.kind,
      target: link.target,
      program: link.program,
      means: link.means,
      info: ({ signal } = {}) => own.run(link.info, signal),
      update: (program, { signal } = {}) =>
        own.run(
          Effect.suspend((): Effect.Effect<void, AttachFailure> => {
            const to = loaded.program(program)
            return to === undefined
              ? Effect.fail(refuse(link, "NoSuchProgram", `the load took no program ${program}`))
              : link.update(to)
          }),
          signal
        ),
      pin: async (path, { signal } = {}) => {
        await own.run(link.pin(path), signal)
        pinned = true
      },
      unpin: async ({ signal } = {}) => {
        await own.run(link.unpin, signal)
        pinned = false
      },
      detach: ({ signal } = {}) => own.run(link.detach, signal),
      text: ({ signal } = {}) => own.run(Iter.text(loaded.session, link), signal)
    } satisfies Omit<Link, keyof Resource>
  )
}

/** Attaches a program to a target, or to what its section says. */
export const attach = async (
  object: Lifetime,
  loaded: LoadedObject,
  program: string,
  target: Target | undefined,
  signal: AbortSignal | undefined
): Promise<Link> => {
  const attaching = target === undefined ? bySection(loaded, program) : toTarget(loaded, program, target)
  const { own, value } = await object.acquire(`the link of ${program}`, attaching, signal)
  return handle(own, loaded, value, own.close)
}

/** Attaches everything of an object whose section says to what. */
export const attachAll = async (
  object: Lifetime,
  loaded: LoadedObject,
  { except = [], signal }: AttachOptions
): Promise<Attached> => {
  const { own, value } = await object.acquire("the object's links", Attach.attachAll(loaded, { except }), signal)
  // They share a lifetime: one of them alone is detached, but for a pinned one, which is to stay.
  const closeOne = (link: EffectLink.Link): Close => async (pinned) =>
    pinned ? undefined : own.run(Effect.ignore(link.detach))
  const links = [...value.links].map(([name, link]): readonly [string, Link] => [
    name,
    handle(own, loaded, link, closeOne(link))
  ])
  return extend(resource(own), { links: new Map(links), skipped: value.skipped })
}
