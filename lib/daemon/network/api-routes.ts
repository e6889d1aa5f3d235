/** What the paths of a control API lead to. */
import type { HttpHandler, HttpRequest, HttpResponse } from "../../host/unix-http.ts";

export type Route<Context> = (context: Context, request: HttpRequest) => Promise<HttpResponse>;
export type Routes<Context> = Readonly<Record<string, Route<Context>>>;

/** The handler for `serveUnixHttp`. */
export function handlerOf<Context>(routes: Routes<Context>, context: Context): HttpHandler {
  return async (request) => {
    const route = Object.hasOwn(routes, request.path) ? routes[request.path] : undefined;
    if (route === undefined) return { status: 404, text: "404 page not found\n" };
    try {
      return await route(context, request);
    } catch (error) {
      return { status: 500, text: `${(error as Error).message}\n` };
    }
  };
}

/** A route that takes a JSON object by POST. */
export function post<Context>(
  handle: (context: Context, body: Record<string, unknown>) => Promise<HttpResponse>,
): Route<Context> {
  return async (context, request) => {
    if (request.method !== "POST") return { status: 400, text: "post only\n" };
    let body: unknown;
    try {
      body = JSON.parse(new TextDecoder().decode(request.body));
    } catch (error) {
      return { status: 400, text: `${(error as Error).message}\n` };
    }
    if (typeof body !== "object" || body === null || Array.isArray(body)) {
      return { status: 400, text: "a JSON object is needed\n" };
    }
    return handle(context, body as Record<string, unknown>);
  };
}
