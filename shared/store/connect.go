package store

import (
	"context"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Connect opens a client for New. The context bounds the set-up only.
func Connect(ctx context.Context, project, database string) (*firestore.Client, error) {
	return firestore.NewClientWithDatabase(ctx, project, database, option.WithGRPCDialOption(LoseAtOnce()))
}

// LoseAtOnce makes a connection tell a lost race as soon as it is lost. Firestore answers most of them with ABORTED, which
// [firestore.Client.RunTransaction] takes for an order to run the function again: it first sleeps up to a second, even if
// no attempt is left. Whoever lost has to read and decide anew, and knows better how long to wait. FAILED_PRECONDITION,
// Firestore's other word for the same, it hands on.
//
// The alternative, the generated client of package apiv1, does not retry; but it can neither encode a document nor find an
// emulator by the environment.
func LoseAtOnce() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		err := invoke(ctx, method, req, reply, conn, opts...)
		if answer := status.Convert(err); answer.Code() == codes.Aborted {
			return status.Error(codes.FailedPrecondition, answer.Message())
		}
		return err
	})
}
