/**
 * The XDP program that hands a device's packets to sockets, and the map in which it looks them up (`xsks_map`).
 *
 * A program that is on the device already and has such a map is used as it is; else one is loaded, and attached until the scope closes.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import {
  BpfConstants,
  Edit,
  Execute,
  Kernel,
  type Network,
  Open,
  Plan,
  type Ref,
  Relocate,
  Xdp
} from "../../src/index.ts"
import { object } from "./RedirectObject.ts"
import type { Socket } from "./Socket.ts"
import { System } from "./System.ts"
import { refused, XskError } from "./XskError.ts"

/** How packets are handed to sockets. */
export interface RedirectOptions extends Network.DeviceTarget {
  /** Where the program runs. Absent: in the driver if it can. */
  readonly mode?: Xdp.XdpMode
  /** The program takes packets in several buffers, as sockets with `multiBuffer` do. */
  readonly multiBuffer?: boolean
  /** Queues that sockets can be put in; default: as many as the device may have. */
  readonly queues?: number
  /** A program that is there is not looked at: another one is an error of the attachment. Default false. */
  readonly alwaysOwn?: boolean
}

/** A map of sockets that a device's program uses. */
export interface Redirect {
  readonly session: Kernel.Session
  readonly map: Ref.MapRef
  /** Whether the program was there already. */
  readonly found: boolean
}

const mapName = "xsks_map"

/** The map of sockets of the program with this identifier. */
const mapOf = Effect.fnUntraced(function*(session: Kernel.Session, device: string, programId: number) {
  const prog = session.fresh("Prog")
  yield* session.call({ _tag: "GetById", as: prog, id: programId })
  const { mapIds } = yield* session.call({ _tag: "ProgGetInfo", prog })
  yield* session.call({ _tag: "Close", ref: prog })
  for (const id of mapIds) {
    const map = session.fresh("Map")
    yield* session.call({ _tag: "GetById", as: map, id })
    const { name, type } = yield* session.call({ _tag: "MapGetInfo", map })
    if (name === mapName && type === BpfConstants.MapType.BPF_MAP_TYPE_XSKMAP) return map
    yield* session.call({ _tag: "Close", ref: map })
  }
  return yield* new XskError({
    reason: "NoMap",
    step: "look for the map of sockets",
    device,
    detail: `program ${programId} is there already, and has no map called ${mapName}`,
    hint: "detach it, or have it redirect to sockets itself and use Redirect.of with its map"
  })
})

/** Loads our program and attaches it. */
const own = Effect.fnUntraced(function*(options: RedirectOptions) {
  const { device, mode, multiBuffer = false, netns } = options
  const system = yield* System
  const queues = options.queues ?? (typeof device === "string" ? system.channels(device, netns) : 64)
  if (queues < 0) return yield* refused("ask for the queues", queues)
  const program = multiBuffer ? "xsk_redirect_frags" : "xsk_redirect"
  const edited = Open.fromBytes(Uint8Array.from(Buffer.from(object, "base64")), { path: "redirect.bpf.o" }).pipe(
    Result.flatMap((opened) => Edit.loadOnly(opened, [program])),
    Result.flatMap((opened) => Edit.setMap(opened, mapName, { maxEntries: Math.max(1, queues) }))
  )
  const planned = yield* Effect.flatMap(
    Relocate.relocate.run(yield* Effect.fromResult(edited)),
    (relocated) => Plan.plan.run(relocated)
  )
  const loaded = yield* Execute.toLoaded(planned)
  const map = loaded.map(mapName)
  if (map === undefined) return yield* Effect.die("the object is another one")
  yield* Xdp.attach(loaded, program, options, mode === undefined ? {} : { mode })
  return { session: loaded.session, map, found: false } satisfies Redirect
})

/** The program of a device that hands packets to sockets: the one that is there, or our own until the scope closes. */
export const make = Effect.fnUntraced(function*(options: RedirectOptions) {
  if (options.alwaysOwn !== true) {
    const session = yield* (yield* Kernel.Kernel).session()
    const { programId } = yield* Xdp.query(session, options)
    if (programId !== undefined && programId !== 0) {
      const map = yield* mapOf(session, String(options.device), programId)
      return { session, map, found: true } satisfies Redirect
    }
  }
  return yield* own(options)
})

/** A map of sockets that somebody else has made, by a descriptor of it, which stays the caller's. */
export const of = Effect.fnUntraced(function*(fd: number) {
  const session = yield* (yield* Kernel.Kernel).session()
  const map = yield* session.adopt({ _tag: "Descriptor", kind: "Map", fd })
  if (map._tag !== "Map") return yield* Effect.die("what was adopted as a map is one")
  return { session, map, found: true } satisfies Redirect
})

/** Puts a socket in the map until the scope closes: at the number of its queue, unless told otherwise. */
export const insert = (
  { map, session }: Redirect,
  socket: Socket,
  key: number = socket.queue
): Effect.Effect<void, Effect.Error<ReturnType<Kernel.Session["call"]>>, Scope.Scope> =>
  Effect.suspend(() => {
    const bytes = new Uint8Array(Uint32Array.of(key).buffer)
    const value = { bytes: new Uint8Array(Uint32Array.of(socket.fd).buffer), refs: [] }
    return Effect.acquireRelease(
      session.call({ _tag: "MapUpdate", map, key: bytes, value, flags: 0n }),
      // The kernel may have taken it out already.
      () => Effect.ignore(session.call({ _tag: "MapDelete", map, key: bytes }))
    )
  })
