/**
 * The live kernel's side of a session: how each call is made, and how what it acquired is released. It knows neither ELF nor
 * BTF beyond the bytes: what has to be looked up in types is the context's business.
 */
import * as Effect from "effect/Effect"
import * as Os from "node:os"
import { RefError } from "../KernelError.ts"
import type * as Session from "../Session.ts"
import type * as Sys from "../sys/Sys.ts"
import * as AttachCalls from "./AttachCalls.ts"
import * as BtfCalls from "./BtfCalls.ts"
import * as ElementCalls from "./ElementCalls.ts"
import * as EventCalls from "./EventCalls.ts"
import * as IdCalls from "./IdCalls.ts"
import * as LinkCalls from "./LinkCalls.ts"
import * as LoaderCalls from "./LoaderCalls.ts"
import * as MapCalls from "./MapCalls.ts"
import * as NetlinkCalls from "./NetlinkCalls.ts"
import * as PinCalls from "./PinCalls.ts"
import * as ProgCalls from "./ProgCalls.ts"
import * as ProgLoad from "./ProgLoad.ts"
import * as Refusals from "./Refusals.ts"
import type { Handle } from "./Handle.ts"
import * as StatsCalls from "./StatsCalls.ts"
import * as WaitCalls from "./WaitCalls.ts"
import type { Context } from "./Context.ts"
import { refused } from "./Enter.ts"

/** Calls that may wait for a thread at once; koffi refuses more than 256 in the whole process. */
export const maximumWaiting = 64

/** Calls under way for each processor: the next ones lie ready, so that no thread waits for this one to prepare them. */
const callsAhead = 4

/** How many programs are loaded at once. libuv's threads, four unless told otherwise, take them one after another. */
const concurrency = (): number => Math.min(maximumWaiting, callsAhead * Os.availableParallelism())

/** Gives back what a ref stood for. */
const release = ({ net, reactor, sys }: Context, handle: Handle): Effect.Effect<void> =>
  Effect.sync(() => {
    switch (handle._tag) {
      case "View":
        return sys.unmap(handle.mapping)
      case "TraceEvent":
        return EventCalls.remove(handle)
      case "Attachment":
        return "remove" in handle ? handle.remove() : AttachCalls.detach(sys, net, handle)
      case "Map":
      case "Event":
        reactor.forget(handle.fd)
        return sys.close(handle.fd)
      default:
        return sys.close(handle.fd)
    }
  })

/**
 * What is left to the process need not be detached any more: what only that needs is closed. Targets are held by the kernel for
 * what is attached to them.
 */
const abandon = ({ sys }: Context, handle: Handle): void => {
  if (handle._tag === "Target") sys.close(handle.fd)
  if (handle._tag === "Attachment") return "remove" in handle ? handle.letGo() : AttachCalls.letGo(sys, handle)
}

/** Borrows a descriptor of the user's, after a look at what it is: it is used as it is, and never closed. */
const borrow = (sys: Sys.Sys): Session.Backend<Handle>["borrow"] =>
  Effect.fnUntraced(function*({ fd, kind }) {
    const found = sys.kindOf(fd)
    if (typeof found === "number") return yield* refused("Borrow", `descriptor ${fd}`, -found)
    if (found !== kind) return yield* new RefError({ call: "adopt", ref: `descriptor ${fd}`, reason: "WrongKind" })
    return yield* PinCalls.describeDescriptor(sys, "Borrow", `descriptor ${fd}`, found, fd)
  })

/** The handlers of one session; refusals for want of a right say which. */
export const backendOf = (context: Context, sources: Refusals.Sources): Session.Backend<Handle> => {
  const handlers: Session.Handlers<Handle> = {
    ...BtfCalls.handlers(context),
    ...MapCalls.handlers(context),
    ...ElementCalls.handlers(context),
    ...ProgLoad.handlers(context),
    ...ProgCalls.handlers(context),
    ...LoaderCalls.handlers(context),
    ...IdCalls.handlers(context),
    ...PinCalls.handlers(context),
    ...LinkCalls.handlers(context),
    ...EventCalls.handlers(context),
    ...AttachCalls.handlers(context),
    ...NetlinkCalls.handlers(context),
    ...StatsCalls.handlers(context),
    ...WaitCalls.handlers(context)
  }
  return {
    handlers: {
      ...handlers,
      BtfLoad: Refusals.watched(sources, handlers.BtfLoad),
      MapCreate: Refusals.watched(sources, handlers.MapCreate),
      ProgLoad: Refusals.watched(sources, handlers.ProgLoad),
      IdNext: Refusals.watched(sources, handlers.IdNext),
      GetById: Refusals.watched(sources, handlers.GetById)
    },
    release: (handle) => release(context, handle),
    abandon: (handle) => abandon(context, handle),
    borrow: borrow(context.sys),
    concurrency: concurrency()
  }
}
