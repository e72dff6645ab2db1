/**
 * The OAuth part of an application: a provider for the SDK, with a user who consents to everything,
 * and a retry after a rejection.
 */
import {
  auth,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from '@modelcontextprotocol/client';
import { LocalError } from 'mcp-triggers-experimental';

/** A client that the authorization server already knows. */
export interface Registered {
  readonly client_id: string;
  readonly client_secret: string;
}

/** Nothing listens there: the provider reads the redirection instead of following it. */
const REDIRECT_URL = 'http://localhost:9/callback';
/** The location that the suite gives for this client's metadata. */
const METADATA_URL = 'https://conformance-test.local/client-metadata.json';
/** Attempts, each with the user's consent, before the client gives up. */
const ATTEMPTS_MAX = 3;

class AgreeableProvider implements OAuthClientProvider {
  readonly redirectUrl = REDIRECT_URL;
  readonly clientMetadataUrl = METADATA_URL;
  readonly clientMetadata = {
    client_name: 'conformance-client',
    redirect_uris: [REDIRECT_URL],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  };
  #client: StoredOAuthClientInformation | undefined;
  #tokens: StoredOAuthTokens | undefined;
  #verifier = '';
  #discovered: OAuthDiscoveryState | undefined;
  /** The authorization code that the server sent the user back with. */
  callback: URLSearchParams | undefined;

  constructor(registered: Registered | undefined) {
    this.#client = registered;
  }

  clientInformation() {
    return this.#client;
  }
  saveClientInformation(client: StoredOAuthClientInformation) {
    this.#client = client;
  }
  tokens() {
    return this.#tokens;
  }
  saveTokens(tokens: StoredOAuthTokens) {
    this.#tokens = tokens;
    // Next time the resource may name another authorization server.
    this.#discovered = undefined;
  }
  codeVerifier() {
    return this.#verifier;
  }
  saveCodeVerifier(verifier: string) {
    this.#verifier = verifier;
  }
  discoveryState() {
    return this.#discovered;
  }
  saveDiscoveryState(state: OAuthDiscoveryState) {
    this.#discovered = state;
  }

  async redirectToAuthorization(url: URL): Promise<void> {
    const answer = await fetch(url, { redirect: 'manual' });
    this.callback = new URL(answer.headers.get('location') ?? REDIRECT_URL, url).searchParams;
  }
}

/**
 * Runs `act`; if it is rejected and the user has consented, exchanges the code for a token and runs
 * it again.
 */
export async function authorized(
  url: string,
  known: Partial<Registered>,
  act: (provider: OAuthClientProvider) => Promise<void>,
): Promise<void> {
  const { client_id, client_secret } = known;
  const provider = new AgreeableProvider(
    client_id === undefined || client_secret === undefined
      ? undefined
      : { client_id, client_secret },
  );
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await act(provider);
    } catch (error) {
      const { callback } = provider;
      const code = callback?.get('code');
      provider.callback = undefined;
      if (
        !(error instanceof LocalError && error.code === 'unauthorized') ||
        !code ||
        attempt === ATTEMPTS_MAX
      )
        throw error;
      const iss = callback?.get('iss');
      await auth(provider, { serverUrl: url, authorizationCode: code, ...(iss ? { iss } : {}) });
    }
  }
}
