/** The events of GitHub webhooks: for each, a description and which members it can be filtered by. */

export interface GithubEvent {
  /** The value of the header `X-GitHub-Event`. The trigger type is `github.<name>`. */
  readonly name: string;
  readonly about: string;
  /** Whether payloads have `action`. */
  readonly action: boolean;
  /** Whether payloads have `repository`. An event that concerns no repository may lack it. */
  readonly repository: boolean;
}

const both = (name: string, about: string): GithubEvent => ({
  name,
  about,
  action: true,
  repository: true,
});
const inRepository = (name: string, about: string): GithubEvent => ({
  name,
  about,
  action: false,
  repository: true,
});
const withAction = (name: string, about: string): GithubEvent => ({
  name,
  about,
  action: true,
  repository: false,
});

/** All events except `ping`, which is answered and not emitted. */
export const GITHUB_EVENTS: readonly GithubEvent[] = [
  both('branch_protection_rule', 'A branch protection rule was created, edited or deleted.'),
  both('check_run', 'A check run was created, requested again or completed.'),
  both('check_suite', 'A check suite was requested or completed.'),
  both('code_scanning_alert', 'A code scanning alert appeared, was fixed, closed or reopened.'),
  both('commit_comment', 'A commit was commented on.'),
  inRepository('create', 'A branch or tag was created.'),
  inRepository('delete', 'A branch or tag was deleted.'),
  both('dependabot_alert', 'A Dependabot alert was created, dismissed, fixed or reopened.'),
  both('deploy_key', 'A deploy key was added to or removed from a repository.'),
  both('deployment', 'A deployment was created.'),
  both('deployment_review', 'A review of a deployment was requested, approved or rejected.'),
  both('deployment_status', 'The status of a deployment changed.'),
  both('discussion', 'A discussion was created, edited, answered, labeled or otherwise changed.'),
  both('discussion_comment', 'A comment in a discussion was created, edited or deleted.'),
  inRepository('fork', 'A repository was forked.'),
  withAction('github_app_authorization', 'A user revoked the authorization of a GitHub App.'),
  inRepository('gollum', 'A wiki page was created or updated.'),
  withAction(
    'installation',
    'A GitHub App was installed, suspended or removed, or its permissions were accepted.',
  ),
  withAction(
    'installation_repositories',
    'Repositories were added to or removed from an installation of a GitHub App.',
  ),
  both('issue_comment', 'A comment on an issue or pull request was created, edited or deleted.'),
  both('issues', 'An issue was opened, edited, labeled, assigned, closed or otherwise changed.'),
  both('label', 'A label was created, edited or deleted.'),
  withAction(
    'marketplace_purchase',
    'A plan in GitHub Marketplace was bought, changed or canceled.',
  ),
  both(
    'member',
    'A collaborator was added to or removed from a repository, or their permissions changed.',
  ),
  withAction('membership', 'A member was added to or removed from a team.'),
  both('merge_group', 'Checks were requested for a group in a merge queue.'),
  both('meta', 'The webhook itself was deleted.'),
  both('milestone', 'A milestone was created, edited, opened, closed or deleted.'),
  withAction('org_block', 'An organization blocked or unblocked a user.'),
  withAction('organization', 'An organization was renamed or deleted, or its members changed.'),
  both('package', 'A package was published or updated.'),
  inRepository('page_build', 'A GitHub Pages site was built, or the attempt failed.'),
  both('project', 'A classic project was created, edited, closed, reopened or deleted.'),
  both(
    'project_card',
    'A card of a classic project was created, edited, moved, converted or deleted.',
  ),
  both('project_column', 'A column of a classic project was created, edited, moved or deleted.'),
  withAction(
    'projects_v2_item',
    'An item of a project was created, edited, reordered, archived, restored or deleted.',
  ),
  inRepository('public', 'A private repository was made public.'),
  both(
    'pull_request',
    'A pull request was opened, synchronized, labeled, merged, closed or otherwise changed.',
  ),
  both('pull_request_review', 'A review of a pull request was submitted, edited or dismissed.'),
  both(
    'pull_request_review_comment',
    'A comment in the review of a pull request was created, edited or deleted.',
  ),
  both(
    'pull_request_review_thread',
    'A thread in the review of a pull request was resolved or unresolved.',
  ),
  inRepository('push', 'Commits or a tag were pushed.'),
  both('release', 'A release was created, published, edited or deleted.'),
  both(
    'repository',
    'A repository was created, renamed, archived, transferred, deleted or otherwise changed.',
  ),
  both(
    'repository_dispatch',
    'A custom event was dispatched to a repository; `action` is its type.',
  ),
  inRepository(
    'repository_import',
    'The import of a repository succeeded, failed or was canceled.',
  ),
  both(
    'repository_vulnerability_alert',
    'An alert about a vulnerable dependency was created, dismissed or resolved.',
  ),
  withAction('security_advisory', 'A security advisory was published, updated or withdrawn.'),
  withAction(
    'sponsorship',
    'A sponsorship was created, edited or canceled, or such a change is pending.',
  ),
  both('star', 'A repository was starred or unstarred.'),
  inRepository('status', 'The status of a commit changed.'),
  both('team', 'A team was created, edited or deleted, or its repositories changed.'),
  inRepository('team_add', 'A repository was added to a team.'),
  both('watch', 'A repository was starred.'),
  inRepository('workflow_dispatch', 'A workflow was started manually.'),
  both('workflow_job', 'A job of a workflow was queued, is in progress or was completed.'),
  both('workflow_run', 'A workflow run was requested, is in progress or was completed.'),
];
